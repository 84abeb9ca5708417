"""The leak gate: a test that leaves something behind fails, that very test, with the evidence in the message.

Watched from before a test's first fixture to after its last finalizer:

- sockets open in this process, and threads (both get a grace: another thread may be about to let go);
- `ResourceWarning`s and unraisable exceptions, kept as strings, for a kept warning keeps its source alive and so
  hides the next leak ("Unclosed client session" with its "Unclosed connector");
- errors on the logger "asyncio": "Unclosed ...", "Task was destroyed", "exception was never retrieved";
- aiohttp sessions and connectors still open, found on the heap, since one held by a cache warns nobody;
- in the test's loop, after all other fixtures are gone and before its runner cancels what is left: pending tasks and
  armed timers.

What is hard: garbage must be collected for most of this to show, and a full collection of a large process takes
longer than most tests. So the gate freezes the heap once after collection (`gc.freeze`), and pays only for what tests
made since. A failed test's traceback keeps its frames alive; the gate drops it, or the next test would be blamed.
What module- and session-scoped fixtures, and the shared fleet of the fixture `fleet`, open while they are set up is
theirs to close and is not held against a test.

A test marked `leaks` leaks on purpose: everything is still collected, so that its neighbours stay clean, and ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import stat
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, TextIO, TypeVar

import pytest

__all__ = ["LeakGate"]

GRACE_SECONDS = 2.0
COLLECT_PASSES = 3  # a finalizer may resurrect, or free only the next layer
SETTLE_TICKS = 20
LAST_ERROR_NAMES = ("last_exc", "last_type", "last_value", "last_traceback")
DESCRIPTOR_FOLDERS = ("/proc/self/fd", "/dev/fd")

SocketId = tuple[int, int]
Key = TypeVar("Key")
Value = TypeVar("Value")


class LeakGate:
    """The pytest plugin. One instance per process; registered by `tests/conftest.py`."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._watch: Watch | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        collect_garbage()
        self._known.update(open_clients())
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        self._watch = Watch(self._known)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        value = yield
        if self._watch is None:
            return value
        if isinstance(value, asyncio.Runner):
            # Finalizers run last in, first out: after all that used the runner, before it cancels what is left.
            fixturedef.addfinalizer(partial(self._watch.inspect_loop, value))
        elif fixturedef.scope != "function" or fixturedef.func.__module__ == "fleetsim.pytest_plugin":
            # The fixture `fleet` is a test's own; the fleet it lends is not.
            self._watch.accept_what_is_open()
        return value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            result = yield
        except BaseException as error:
            for line in self._finish(item):
                error.add_note(line)
            raise
        if leaks := self._finish(item):
            pytest.fail("\n".join([f"{item.nodeid} left something behind:", *leaks]), pytrace=False)
        return result

    def _finish(self, item: pytest.Item) -> list[str]:
        watch, self._watch = self._watch, None
        leaks = watch.finish() if watch is not None else []
        return [] if item.get_closest_marker("leaks") else leaks


class Watch:
    """Everything noted about one test, from its construction to `finish`."""

    def __init__(self, known_clients: weakref.WeakSet[Any]) -> None:
        self._known_clients = known_clients
        self._texts: list[str] = []
        self._traps = contextlib.ExitStack()
        self._traps.enter_context(trapped_warnings(self._texts.append))
        self._traps.enter_context(trapped_unraisables(self._texts.append))
        self._traps.enter_context(trapped_asyncio_errors(self._texts.append))
        self._sockets = open_sockets().keys()
        self._threads = set(threading.enumerate())

    def accept_what_is_open(self) -> None:
        """A fixture that outlives the test has been set up: what is open now is not the test's."""
        self._known_clients.update(open_clients())
        self._sockets = open_sockets().keys()
        self._threads = set(threading.enumerate())

    def inspect_loop(self, runner: asyncio.Runner) -> None:
        """Note the tasks and timers that the test and its fixtures leave in their loop."""
        loop = runner.get_loop()
        if loop.is_closed():
            return
        runner.run(settle())
        self._texts += [f"pending task: {task!r}" for task in asyncio.all_tasks(loop) if not task.done()]
        self._texts += [f"armed timer: {timer!r}" for timer in armed_timers(loop)]

    def finish(self) -> list[str]:
        """Collect garbage, end the traps, and return one line of evidence per leak."""
        forget_last_error()
        collect_garbage()
        self._traps.close()
        return [*self._texts, *self._left_clients(), *self._left_sockets(), *self._left_threads()]

    def _left_clients(self) -> list[str]:
        left = [client for client in open_clients() if client not in self._known_clients]
        self._known_clients.update(left)
        return [f"not closed: {client!r}" for client in left]

    def _left_sockets(self) -> list[str]:
        left = still_there(lambda: {key: fd for key, fd in open_sockets().items() if key not in self._sockets})
        return [f"open socket: {describe_socket(fd)}" for fd in left.values()]

    def _left_threads(self) -> list[str]:
        left = still_there(lambda: {thread: None for thread in threading.enumerate() if thread not in self._threads})
        return [f"running thread: {thread!r}" for thread in left]


@contextlib.contextmanager
def trapped_warnings(note: Callable[[str], None]) -> Iterator[None]:
    """Hand every ResourceWarning to `note`, as text; all others go on to pytest."""
    with warnings.catch_warnings():
        pass_on = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ResourceWarning):
                note(f"{category.__name__}: {message} ({filename}:{lineno})")
            else:
                pass_on(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.simplefilter("always", ResourceWarning)
        yield


@contextlib.contextmanager
def trapped_unraisables(note: Callable[[str], None]) -> Iterator[None]:
    """Hand every exception raised where nobody can catch it to `note`, as text."""

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        place = unraisable.err_msg or "Exception ignored in"
        note(f"unraisable: {place}: {unraisable.object!r}: {unraisable.exc_type.__name__}: {unraisable.exc_value}")

    previous, sys.unraisablehook = sys.unraisablehook, hook
    try:
        yield
    finally:
        sys.unraisablehook = previous


class _ErrorTexts(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self._note(f"asyncio logged: {record.getMessage()}" + (f" ({cause!r})" if cause else ""))


@contextlib.contextmanager
def trapped_asyncio_errors(note: Callable[[str], None]) -> Iterator[None]:
    """Hand every error asyncio logs, which is all its default exception handler does, to `note`, as text."""
    logger, handler = logging.getLogger("asyncio"), _ErrorTexts(note)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def settle() -> None:
    """Give what is already on its way out (callbacks, generators being closed) a few turns of the loop."""
    me = asyncio.current_task()
    for tick in range(SETTLE_TICKS):
        await asyncio.sleep(0)
        if tick > 1 and asyncio.all_tasks() == {me}:
            return


def armed_timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """Timers not cancelled. asyncio has no public list of them; loops written in C keep none we could read."""
    return [timer for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()]


def forget_last_error() -> None:
    """Drop the traceback pytest keeps for post-mortems: its frames would keep a failed test's objects alive."""
    for name in LAST_ERROR_NAMES:
        if hasattr(sys, name):
            delattr(sys, name)


def collect_garbage() -> None:
    for _ in range(COLLECT_PASSES):
        if not gc.collect():
            return


def open_clients() -> list[Any]:
    """The aiohttp sessions and connectors on the heap that are not closed."""
    if "aiohttp" not in sys.modules:
        return []
    from aiohttp import BaseConnector, ClientSession

    kinds: dict[type, bool] = {}
    found = []
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in kinds:
            kinds[kind] = issubclass(kind, (ClientSession, BaseConnector))
        if kinds[kind] and not thing.closed:
            found.append(thing)
    return found


def open_sockets() -> dict[SocketId, int]:
    """The sockets of this process by identity, each with its descriptor; empty where no folder lists descriptors."""
    folder = next((folder for folder in DESCRIPTOR_FOLDERS if os.path.isdir(folder)), None)
    found: dict[SocketId, int] = {}
    for name in os.listdir(folder) if folder else ():
        with contextlib.suppress(OSError):  # listing the folder opened a descriptor that is gone by now
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                found[status.st_dev, status.st_ino] = int(name)
    return found


def describe_socket(fd: int) -> str:
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            return f"fd {fd}, {twin!r}"
    except OSError as error:
        return f"fd {fd} ({error})"


def still_there(look: Callable[[], dict[Key, Value]]) -> dict[Key, Value]:
    """What `look` finds at the end of the grace; returns at once when it finds nothing."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found
