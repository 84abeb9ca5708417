"""What is replaced while a run is on, so that nothing of it leaves the simulation, and put back when it ends.

- the clock, sleep and entropy of Python, also the copies that modules made by `from time import monotonic`: aiohttp
  would never expire an idle connection in virtual time;
- sockets, and calls that take a descriptor's number;
- threads, processes, other loops and name services, which raise SimEscape;
- of aiohttp and other packages what `foreign.py` tells.

Copies are looked for in every module outside the standard library, once for each module.
"""

from __future__ import annotations

import _thread
import asyncio
import fcntl
import gc
import os
import random
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from simkernel import clocks, polling, world
from simkernel.foreign import Foreign
from simkernel.loop import look_up
from simkernel.sockets import SimSocket

__all__ = ["guarded"]

_REAL_LOOK_UP = socket.getaddrinfo


def _look_up_now(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
    here = world.current()
    return _REAL_LOOK_UP(host, port, *args, **options) if here is None else look_up(here.net, host, port)


def _start_thread(self: threading.Thread) -> None:
    if world.current() is not None:
        raise world.escape(f"threading.Thread.start() of {self.name!r}")
    _REAL_START(self)


def _wait_for_a_thread(self: threading.Condition, timeout: float | None = None) -> bool:
    """Of an Event, a Queue or a concurrent Future: the run has no other thread to end it, and it would hang."""
    if timeout is None and world.current() is not None:
        raise world.escape("threading.Condition.wait()")
    return _REAL_WAIT(self, timeout)


_REAL_START, _REAL_WAIT = threading.Thread.start, threading.Condition.wait

_SELECTORS = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector")
_PROCESSES = ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "execv", "execve")
_ESCAPES: list[tuple[Any, str, str]] = [
    (asyncio, "new_event_loop", "asyncio.new_event_loop"),
    (asyncio.events, "new_event_loop", "asyncio.new_event_loop"),
    (subprocess.Popen, "__init__", "subprocess.Popen"),
    (socket, "socketpair", "socket.socketpair"),
    (socket, "fromfd", "socket.fromfd"),
    (socket, "gethostbyname", "socket.gethostbyname"),
    (socket, "gethostbyaddr", "socket.gethostbyaddr"),
    (socket, "gethostbyname_ex", "socket.gethostbyname_ex"),
    (socket, "getnameinfo", "socket.getnameinfo"),
    # They take a descriptor to where it is not known to be simulated.
    (getattr(sys.modules.get("ssl"), "SSLContext", None), "wrap_socket", "ssl.SSLContext.wrap_socket"),
    *((getattr(selectors, name, None), "register", f"selectors.{name}.register") for name in _SELECTORS),
    # Below what is refused by a better name: `multiprocessing` for one goes there at once.
    *((_thread, name, f"_thread.{name}") for name in ("start_new_thread", "start_new", "start_joinable_thread")),
    (sys.modules.get("_posixsubprocess"), "fork_exec", "_posixsubprocess.fork_exec"),
    *((os, name, f"os.{name}") for name in _PROCESSES),
    *((select, name, f"select.{name}") for name in ("epoll", "kqueue", "devpoll")),
]


def _replacements() -> list[tuple[Any, str, Any]]:
    """Place by place, what stands there during a run. Functions that other modules may have copied come first."""
    found: list[tuple[Any, str, Any]] = [(time, name, clock) for name, clock in clocks.CLOCKS.items()]
    found += [
        (time, "sleep", clocks.sleep),
        (os, "urandom", clocks.urandom),
        *([(os, "getrandom", clocks.getrandom)] if hasattr(os, "getrandom") else []),
        (os, "dup", polling.dup),
        (os, "close", polling.close),
        (fcntl, "ioctl", polling.ioctl),
        (select, "poll", polling.poll),
        (select, "select", polling.select_now),
        (socket, "socket", SimSocket),
        (socket, "getaddrinfo", _look_up_now),
        (random.Random, "seed", clocks.seed_generator),
        (threading.Thread, "start", _start_thread),
        (threading.Condition, "wait", _wait_for_a_thread),
    ]
    found += [
        (owner, name, world.forbidden(called, getattr(owner, name)))
        for owner, name, called in _ESCAPES
        if hasattr(owner, name)
    ]
    return found


_REPLACEMENTS = _replacements()
_BY_REAL: dict[int, Any] = {
    id(getattr(owner, name)): standing for owner, name, standing in _REPLACEMENTS if isinstance(owner, ModuleType)
}


class _Copies:
    """The copies of replaced functions that modules hold. Each module is searched once, when it is first seen."""

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}
        self.found: list[tuple[Any, str, Any]] = [(random, "_urandom", clocks.urandom)]

    def search(self) -> None:
        # By identity: a module that has gone makes room for another, and one that is imported again is another.
        new = [(name, module) for name, module in sys.modules.items() if self._seen.get(name) is not module]
        self._seen.update(new)
        for name, module in new:
            if name.partition(".")[0] not in _PASSED_OVER:
                self.found += self._in_module(module)

    @staticmethod
    def _in_module(module: ModuleType) -> list[tuple[Any, str, Any]]:
        return [
            (module, name, _BY_REAL[id(value)])
            for name, value in list(getattr(module, "__dict__", {}).items())
            if id(value) in _BY_REAL
        ]


_PASSED_OVER = frozenset({"simkernel", *sys.stdlib_module_names})
_copies = _Copies()


class _Undo:
    """Sets attributes, and puts all of them back in reverse order."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        self._before.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def all(self) -> None:
        for owner, name, value in reversed(self._before):
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


_ABSENT = object()


@contextmanager
def guarded(here: world.World) -> Iterator[None]:
    """Everything the calling thread does inside stays in the simulation `here`."""
    _copies.search()
    undo, state = _Undo(), random.getstate()
    was_collecting = gc.isenabled()
    with world.running(here):
        try:
            for owner, name, value in (*_REPLACEMENTS, *_copies.found):
                undo.set(owner, name, value)
            foreign = Foreign(here, undo.set)
            foreign.guard_loaded()
            sys.meta_path.insert(0, foreign)
            random.seed(here.entropy.getrandbits(64))
            gc.disable()  # finalizers run when the run says so
            yield
        finally:
            if was_collecting:
                gc.enable()
            sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Foreign)]
            undo.all()
            random.setstate(state)
