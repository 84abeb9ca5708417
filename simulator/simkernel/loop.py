"""asyncio's own selector loop on a simulated kernel and clock.

CPython's transports, servers, `sock_connect`, TLS and flow control run as they are: what is replaced lies below.
The ready queue is asyncio's and stays first in, first out. Freedom is only in arrival times, in the order of
descriptors that are ready together, and in when somebody cancels.

What would need a thread runs in the loop, after a delay drawn from the seed; what would need another process, a pipe, a
Unix socket or a datagram raises SimEscape.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NoReturn, TypeVar

from simkernel import world
from simkernel.faults import Net
from simkernel.hosts import literal_address
from simkernel.selector import SimSelector
from simkernel.waiting import describe_tasks

__all__ = ["SimLoop", "SimTask"]

T = TypeVar("T")

_HOP = (0.0001, 0.001)  # seconds until a thread of a pool has done its work


class SimTask(asyncio.Task[T]):
    """A task whose hash is its number: sets of tasks (`asyncio.wait`, TaskGroup) have the same order in every run."""

    def __init__(self, coro: Coroutine[Any, Any, T], *, number: int, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class SimLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when nobody is ready. Its `net` is the world below it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._sim_tasks = 0
        self._signals: dict[int, Callable[[], object]] = {}
        selector = SimSelector(net)
        super().__init__(selector)
        selector.next_timer = self._next_timer
        selector.waiting = partial(describe_tasks, self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.net.now

    def _next_timer(self) -> float | None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio has no public list
        return timers[0].when() if timers else None

    # Coincidences on purpose.

    def call_after_turns(self, turns: int, callback: Callable[[], object]) -> None:
        """Call it so many turns of the loop from now, whatever the clock says: say, to cancel in mid hand-over."""
        self.call_soon(self._count_down, turns, callback)

    def _count_down(self, turns: int, callback: Callable[[], object]) -> None:
        if turns <= 0:
            callback()
        else:
            self.call_soon(self._count_down, turns - 1, callback)

    # Tasks.

    def create_task(  # type: ignore[override]  # each Python has other keywords, which are passed on
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, **options: Any
    ) -> asyncio.Task[T]:
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, **options)
        self._check_closed()  # type: ignore[attr-defined]  # as BaseEventLoop does
        self._sim_tasks += 1
        options = {key: value for key, value in options.items() if value is not None}
        return SimTask(coro, number=self._sim_tasks, loop=self, name=name or f"Task-{self._sim_tasks}", **options)

    # Threads.

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        """There is none: nobody wakes this loop from outside."""

    def _write_to_self(self) -> None:
        """There is nobody asleep to wake."""

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed ties the arguments to the callback
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if world.current() is None:
            raise world.escape("loop.call_soon_threadsafe() from another thread")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # typeshed ties the arguments to the function
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` in the loop, a moment from now. Cancelled before that, it is not called."""
        future: asyncio.Future[T] = self.create_future()
        least, most = _HOP
        self.call_later(self.net.chance.uniform(least, most), _settle, future, partial(func, *args))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    # Names.

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Look a name up, in virtual time. Raises socket.gaierror."""
        name = host.decode("idna") if isinstance(host, bytes) else host
        if literal_address(name) is None:
            await asyncio.sleep(self.net.settings.name_delay * (1.0 + self.net.chance.random()))
        return look_up(self.net, name, port)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return (sockaddr[0], str(sockaddr[1]))

    # Signals.

    def add_signal_handler(  # type: ignore[override]  # typeshed ties the arguments to the callback
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Only `send_signal` calls it: a simulated process gets no real signals."""
        self._signals[sig] = partial(callback, *args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._signals.pop(sig, None) is not None

    def send_signal(self, sig: int) -> None:
        """Do what the kernel does when somebody sends the process a signal. Raises KeyError where nobody handles it."""
        self.call_soon(self._signals[sig])

    # What leaves the simulation.

    async def _sock_sendfile_native(self, *args: Any) -> NoReturn:
        raise asyncio.SendfileNotAvailableError("os.sendfile() knows no simulated descriptor")

    async def subprocess_exec(self, *args: Any, **options: Any) -> NoReturn:
        raise world.escape("loop.subprocess_exec()")

    async def subprocess_shell(self, *args: Any, **options: Any) -> NoReturn:
        raise world.escape("loop.subprocess_shell()")

    async def connect_read_pipe(self, *args: Any) -> NoReturn:
        raise world.escape("loop.connect_read_pipe()")

    async def connect_write_pipe(self, *args: Any) -> NoReturn:
        raise world.escape("loop.connect_write_pipe()")

    async def create_unix_connection(self, *args: Any, **options: Any) -> NoReturn:
        raise world.escape("loop.create_unix_connection()")

    async def create_unix_server(self, *args: Any, **options: Any) -> NoReturn:
        raise world.escape("loop.create_unix_server()")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> NoReturn:
        raise world.escape("loop.create_datagram_endpoint()")


def look_up(net: Net, name: str | None, port: Any) -> list[Any]:
    """Return what getaddrinfo answers, IPv4 and TCP alone, and note it. Raises socket.gaierror."""
    literal = literal_address(name)
    addresses = (literal,) if literal is not None else net.hosts.resolve(name or "")
    number = int(port or 0)
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, number)) for each in addresses]


def _settle(future: asyncio.Future[T], work: Callable[[], T]) -> None:
    if future.cancelled():
        return
    try:
        result = work()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  # whatever the work raises is its caller's, as from a thread
        future.set_exception(error)
    else:
        future.set_result(result)
