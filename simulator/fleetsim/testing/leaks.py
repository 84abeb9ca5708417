"""What a piece of code leaves behind: sockets, aiohttp clients, tasks, and complaints nobody hears.

A `Watch` is made before and finished after. It notes

- sockets open in this process, with a grace, for another thread may be about to let go;
- `ResourceWarning`s, coroutines never awaited and unraisable exceptions, kept as strings, for a kept warning keeps its
  source alive and so hides the next leak ("Unclosed client session" with its "Unclosed connector");
- errors on the logger "asyncio": "Unclosed ...", "Task was destroyed", "exception was never retrieved";
- aiohttp sessions and connectors still open, found on the heap, since one held by a cache warns nobody;
- tasks pending in the loops it is shown.

What is hard: garbage must be collected for most of this to show, and what keeps a traceback keeps all its frames'
objects. Whoever makes watches one after the other freezes the heap once (`gc.freeze`), to pay for new objects only.
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
import time
import warnings
import weakref
from collections.abc import Callable, Container, Iterator
from typing import Any, TextIO, TypeVar

__all__ = ["Watch", "collect_garbage", "forget_last_error", "open_clients"]

GRACE_SECONDS = 2.0
COLLECT_PASSES = 3  # a finalizer may resurrect, or free only the next layer
SETTLE_TICKS = 20
LAST_ERROR_NAMES = ("last_exc", "last_type", "last_value", "last_traceback")
DESCRIPTOR_FOLDERS = ("/proc/self/fd", "/dev/fd")

SocketId = tuple[int, int]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Watch:
    """Everything noted from its construction to `finish`. `known_clients` are not held against anybody."""

    def __init__(self, known_clients: weakref.WeakSet[Any]) -> None:
        self._known_clients = known_clients
        self._known_tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._texts: list[str] = []
        self._traps = contextlib.ExitStack()
        self._traps.enter_context(trapped_warnings(self._texts.append))
        self._traps.enter_context(trapped_unraisables(self._texts.append))
        self._traps.enter_context(trapped_asyncio_errors(self._texts.append))
        self._sockets = set(open_sockets())

    def accept_what_is_open(self) -> None:
        """Hold nothing that is open now against the test: it belongs to something that outlives it."""
        self._known_clients.update(open_clients())
        self._sockets = set(open_sockets())

    def accept_listening(self, addresses: Container[object]) -> None:
        """Hold no socket against the test that listens now on one of these ports, or at one of these paths."""
        self._sockets |= {key for key, fd in open_sockets().items() if listens_on(fd) in addresses}

    def accept_tasks(self, runner: asyncio.Runner) -> None:
        """Hold no task against the test that is pending now in the runner's loop."""
        if not (loop := runner.get_loop()).is_closed():
            self._known_tasks.update(asyncio.all_tasks(loop))

    def inspect_loop(self, runner: asyncio.Runner) -> None:
        """Note the tasks left pending in the runner's loop, each once."""
        loop = runner.get_loop()
        if loop.is_closed() or loop.is_running():
            return
        runner.run(settle())
        left = [task for task in asyncio.all_tasks(loop) if not task.done() and task not in self._known_tasks]
        self._known_tasks.update(left)
        self._texts += [f"pending task: {task!r}" for task in left]

    def finish(self) -> list[str]:
        """Collect garbage, end the traps, and return one line of evidence per leak."""
        forget_last_error()
        collect_garbage()
        self._traps.close()
        return [*self._texts, *self._left_clients(), *self._left_sockets()]

    def _left_clients(self) -> list[str]:
        left = [client for client in open_clients() if client not in self._known_clients]
        self._known_clients.update(left)
        return [f"not closed: {client!r}" for client in left]

    def _left_sockets(self) -> list[str]:
        left = still_there(lambda: {key: fd for key, fd in open_sockets().items() if key not in self._sockets})
        return [f"open socket: {describe_socket(fd)}" for fd in left.values()]


@contextlib.contextmanager
def trapped_warnings(note: Callable[[str], None]) -> Iterator[None]:
    """Hand every ResourceWarning, and coroutines never awaited, to `note` as text; all others go where they would."""
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
            if issubclass(category, ResourceWarning) or "was never awaited" in str(message):
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


def forget_last_error() -> None:
    """Drop the traceback kept for post-mortems: its frames would keep a failed test's objects alive."""
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
    from aiohttp import BaseConnector, ClientSession  # noqa: PLC0415 (only where somebody has imported it)

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


def listens_on(fd: int) -> int | str | None:
    """The port, or the path, on which the socket listens; None if it does not."""
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            name = twin.getsockname()
            listens = twin.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        return None
    at = name[1] if isinstance(name, tuple) else name
    return at if listens and isinstance(at, (int, str)) else None


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
