"""Every socket of a tree, counted from the first SYN to `connection_lost`, and never more than `limit` of them.

Theory of operation
-------------------
A socket is DIALING from before the attempt to connect, ACQUIRED while an exchange owns it, IDLE between exchanges,
CLOSING from our decision to end it until the transport says `connection_lost`, and then CLOSED. `_MOVES` is the whole
life; an illegal move raises and changes nothing. All but CLOSED count against the limit: that is what makes
`connector_limit` a bound on file descriptors and not, as in aiohttp, on requests.

`reserve` gives the right to dial. At the limit it ends the socket that has been idle longest and waits for its
`connection_lost`, which hands the right directly to the first dial in line. There is always something to wait for: a
request holds a slot of the limiter while it dials, the limiter has at most `limit` slots, and each of the others holds
at most one socket; so among `limit` sockets one at least is idle or closing for each dial in line.

Idle sockets are ended `keepalive_timeout` seconds after their release by one timer that follows the oldest of them.
aiohttp's own cleaner comes up to twice as late, and by then a server that waits only a little longer has closed first:
the request that goes out in that moment is lost.

What may change a state: this file only. It knows sockets by `Endable` and never touches aiohttp.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

__all__ = ["Endable", "SocketState", "SocketStatistics", "Sockets"]


class SocketState(IntEnum):
    """Where a socket is in its life."""

    DIALING = 0
    ACQUIRED = 1
    IDLE = 2
    CLOSING = 3
    CLOSED = 4


_DIALING, _ACQUIRED, _IDLE, _CLOSING, _CLOSED = SocketState
_MOVES = {
    "connect": ({_DIALING}, _ACQUIRED),
    "reuse": ({_IDLE}, _ACQUIRED),
    "rest": ({_ACQUIRED}, _IDLE),
    "end": ({_ACQUIRED, _IDLE}, _CLOSING),
    "lose": ({_ACQUIRED, _IDLE, _CLOSING}, _CLOSED),
}


class Endable(Protocol):
    """A connected socket as this file sees it."""

    state: SocketState

    def end(self) -> None:
        """Abort the transport; its `connection_lost` comes later and must be told to `Sockets.lost`."""


@dataclass(frozen=True, slots=True)
class SocketStatistics:
    """Gauges `open = dialing + acquired + idle + closing`; the rest only grows.

    `opened` and `closed` count connected sockets, `failed` attempts that never connected, `reused` exchanges on a
    socket that had served one before, `expired` and `evicted` idle sockets ended by age and to make room, `poisoned`
    idle sockets on which the server spoke out of turn, `lost_idle` idle sockets that the server closed first.
    """

    open: int
    peak_open: int
    dialing: int
    acquired: int
    idle: int
    closing: int
    opened: int
    closed: int
    failed: int
    reused: int
    expired: int
    evicted: int
    poisoned: int
    lost_idle: int


class Sockets:
    """The sockets of one tree, bound to `loop`. For one thread; only `reserve` and `emptied` wait."""

    def __init__(self, *, limit: int, keepalive_timeout: float | None, loop: asyncio.AbstractEventLoop) -> None:
        self.limit = limit
        self.keepalive_timeout = keepalive_timeout
        self._loop = loop
        self._counts = [0, 0, 0, 0, 0]
        self._open = self._peak = 0
        self._opened = self._failed = self._reused = 0
        self._expired = self._evicted = self._poisoned = self._lost_idle = 0
        self._idle: OrderedDict[Endable, float] = OrderedDict()
        self._dials: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._emptied: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[float], object] | None = None
        """Called with the seconds that each socket was connected for."""

    @property
    def open(self) -> int:
        """Sockets that are not CLOSED."""
        return self._open

    async def reserve(self) -> None:
        """Take the right to dial, in order of arrival. Cancelling it loses nothing.

        The right ends in exactly one of `connected` and `dial_failed`.
        """
        if self._open < self.limit and not self._dials:
            self._start_dial()
            return
        right: asyncio.Future[None] = self._loop.create_future()
        self._dials[right] = None
        self._make_room()
        try:
            await right
        except (asyncio.CancelledError, GeneratorExit):
            if right.done() and not right.cancelled():
                self.dial_failed(counted=False)
            else:
                self._dials.pop(right, None)
            raise

    def connected(self, socket: Endable) -> None:
        """A dial has connected: `socket`, new and DIALING, is now ACQUIRED by the exchange that dialled."""
        self._check_dial()
        self._move(socket, "connect")
        self._opened += 1

    def dial_failed(self, *, counted: bool = True) -> None:
        """A dial has ended without a connection; its right goes to the next in line."""
        self._check_dial()
        self._failed += counted
        self._counts[_DIALING] -= 1
        self._left()

    def reuse(self, socket: Endable) -> None:
        """An idle socket has been taken by another exchange."""
        self._move(socket, "reuse")
        del self._idle[socket]
        self._reused += 1

    def reject(self, socket: Endable) -> None:
        """An idle socket was about to be taken, but the server has spoken on it out of turn: end it."""
        self._poisoned += 1
        self.end(socket)

    def rest(self, socket: Endable) -> None:
        """An exchange is over and its socket may serve another."""
        self._move(socket, "rest")
        now = self._loop.time()
        self._idle[socket] = now
        if self._dials:
            self._make_room()
        if self._idle and self._timer is None and self.keepalive_timeout is not None:
            self._timer = self._loop.call_at(now + self.keepalive_timeout, self._expire)

    def end(self, socket: Endable) -> None:
        """End a socket from our side, whatever it is doing; it counts until its `connection_lost`."""
        if socket.state is _CLOSING or socket.state is _CLOSED:
            return
        if self._move(socket, "end") is _IDLE:
            del self._idle[socket]
        socket.end()

    def lost(self, socket: Endable) -> None:
        """The transport has said `connection_lost`."""
        before = self._move(socket, "lose")
        if before is _IDLE:
            del self._idle[socket]
            self._lost_idle += 1
        self._left()

    def end_idle(self) -> None:
        """End every idle socket and stop the timer, because the tree closes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self.end(next(iter(self._idle)))

    async def emptied(self) -> None:
        """Return when no socket is open. Cancelling it changes nothing; concurrent calls are allowed."""
        while self._open:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._emptied.append(waiter)
            await waiter

    def statistics(self) -> SocketStatistics:
        """A consistent record of the counts."""
        counts = self._counts
        return SocketStatistics(
            open=self._open,
            peak_open=self._peak,
            dialing=counts[_DIALING],
            acquired=counts[_ACQUIRED],
            idle=counts[_IDLE],
            closing=counts[_CLOSING],
            opened=self._opened,
            closed=counts[_CLOSED],
            failed=self._failed,
            reused=self._reused,
            expired=self._expired,
            evicted=self._evicted,
            poisoned=self._poisoned,
            lost_idle=self._lost_idle,
        )

    def _check_dial(self) -> None:
        if not self._counts[_DIALING]:
            raise RuntimeError("no dial is under way")

    def _move(self, socket: Endable, move: str) -> SocketState:
        before, (legal, after) = socket.state, _MOVES[move]
        if before not in legal:
            raise RuntimeError(f"cannot {move} a socket that is {before.name}")
        socket.state = after
        self._counts[before] -= 1
        self._counts[after] += 1
        return before

    def _start_dial(self) -> None:
        self._counts[_DIALING] += 1
        self._open += 1
        self._peak = max(self._peak, self._open)

    def _left(self) -> None:
        """One socket less: its place goes to the first dial in line."""
        self._open -= 1
        while self._dials and self._open < self.limit:
            right, _ = self._dials.popitem(last=False)
            if not right.done():
                self._start_dial()
                right.set_result(None)
        if not self._open:
            waiters, self._emptied = self._emptied, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _make_room(self) -> None:
        """End idle sockets, longest idle first, until one is on its way out for each dial in line."""
        while self._idle and self._counts[_CLOSING] < len(self._dials):
            self._evicted += 1
            self.end(next(iter(self._idle)))

    def _expire(self) -> None:
        self._timer = None
        assert self.keepalive_timeout is not None
        # Timers may fire within the clock's resolution before they are due; half a millisecond of grace settles it.
        due = self._loop.time() - self.keepalive_timeout + 0.0005
        while self._idle:
            socket, since = next(iter(self._idle.items()))
            if since > due:
                self._timer = self._loop.call_at(since + self.keepalive_timeout, self._expire)
                return
            self._expired += 1
            self.end(socket)
