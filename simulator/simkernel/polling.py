"""Calls that take a descriptor by its number, for simulated ones: select, poll, ioctl, dup, close.

httpcore, for one, asks `select.poll` whether an idle connection is readable, and throws it away if so.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
from collections.abc import Iterable
from typing import Any

from simkernel import world
from simkernel.descriptors import is_simulated
from simkernel.tcp import raise_errno

__all__ = ["SimPoll", "close", "dup", "ioctl", "poll", "select_now"]

_real_poll, _real_select = select.poll, select.select
_real_ioctl, _real_dup, _real_close = fcntl.ioctl, os.dup, os.close


class SimPoll:
    """`select.poll()` of simulated descriptors. It answers at once: waiting is an escape."""

    def __init__(self, here: world.World) -> None:
        self._descriptors = here.net.descriptors
        self._asked: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = select.POLLIN | select.POLLPRI | select.POLLOUT) -> None:
        number = _number(fd)
        if not is_simulated(number):
            raise world.escape(f"select.poll().register({number})")
        self._asked[number] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        if _number(fd) not in self._asked:
            raise_errno(errno.ENOENT)
        self.register(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        del self._asked[_number(fd)]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Return what is ready now. `timeout` is in milliseconds, as there."""
        found = [(number, self._ask(number, mask)) for number, mask in self._asked.items()]
        ready = [(number, events) for number, events in found if events]
        if not ready and timeout != 0:
            raise world.escape("select.poll().poll() with a timeout")
        return ready

    def _ask(self, number: int, mask: int) -> int:
        try:
            end = self._descriptors.get(number)
        except OSError:
            return select.POLLNVAL
        readable = mask & select.POLLIN and end.is_readable()
        writable = mask & select.POLLOUT and end.is_writable()
        return (select.POLLIN if readable else 0) | (select.POLLOUT if writable else 0)


def poll() -> Any:
    """`select.poll`."""
    here = world.current()
    return _real_poll() if here is None else SimPoll(here)


def select_now(
    rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None, /
) -> tuple[list[Any], list[Any], list[Any]]:
    """`select.select`."""
    here = world.current()
    if here is None:
        return _real_select(rlist, wlist, xlist, timeout)
    asked = (list(rlist), list(wlist), list(xlist))
    if not all(is_simulated(_number(each)) for every in asked for each in every):
        raise world.escape("select.select() of a real descriptor")
    get = here.net.descriptors.get
    readable = [each for each in asked[0] if get(_number(each)).is_readable()]
    writable = [each for each in asked[1] if get(_number(each)).is_writable()]
    if not readable and not writable and timeout != 0:
        raise world.escape("select.select() with a timeout")
    return readable, writable, []


def ioctl(fd: Any, request: int, arg: Any = 0, mutate_flag: bool = True, /) -> Any:
    """`fcntl.ioctl`; of a simulated descriptor only FIONREAD, into bytes, is known."""
    here, number = world.current(), _number(fd)
    if here is None or not is_simulated(number):
        return _real_ioctl(fd, request, arg, mutate_flag)
    if request != termios.FIONREAD or not isinstance(arg, bytes):
        raise world.escape(f"fcntl.ioctl(request={request:#x})")
    return struct.pack("i", here.net.descriptors.get(number).unread_bytes)


def dup(fd: int, /) -> int:
    """`os.dup`."""
    here = world.current()
    return _real_dup(fd) if here is None or not is_simulated(fd) else here.net.descriptors.duplicate(fd)


def close(fd: int) -> None:
    """`os.close`."""
    here = world.current()
    if here is None or not is_simulated(fd):
        _real_close(fd)
    else:
        here.net.descriptors.close(fd)


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
