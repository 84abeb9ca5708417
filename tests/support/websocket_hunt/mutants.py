"""`ConnectionPool` broken on purpose, one place at a time, to see that the hunt finds it.

Each breaks a line that is there for a race or a limit, as somebody might who does not know why it is there.
"""

from __future__ import annotations

import math
from typing import Any

from mutation import Mutant, Patch

from swarmpool.agent_websockets import AgentWebSocketPool
from swarmpool.connection_pool import ConnectionPool, EventKind
from swarmpool.connection_pool.callers import Callers
from swarmpool.connection_pool.core import Core
from swarmpool.connection_pool.demand import Demand
from swarmpool.connection_pool.expiry import Expiry
from swarmpool.connection_pool.line import Line
from swarmpool.connection_pool.shell import Shell
from swarmpool.connection_pool.states import CloseReason, ConnectionState
from swarmpool.watched import WatchedWebSocket
from swarmpool.websockets import WebSocketPool

__all__ = ["MUTANTS"]


def _lent_to_anybody(self: Any, connection: Any) -> Any:
    entry = self._core.entry_of(connection)
    return entry if entry is not None and entry.state is ConnectionState.LEASED else None


def _leave_only(self: Any, ticket: Any, future: Any) -> None:
    self._core.leave(ticket, EventKind.CANCELLED)


def _enter_anyway(self: Any) -> Any:
    return self._here()


def _start_dials_anyway(self: Any, now: float) -> None:
    for _ in range(self.demand.to_start(now, len(self.line), self.open, self.counts[ConnectionState.DIALING])):
        self._start_dial(now)


def _newest(self: Any) -> Any:
    if self._newcomers:
        return self._newcomers.popitem(last=True)[1]
    return self._returned.pop() if self._returned else None


def _deaf(self: Any, connection: Any) -> None:
    """Nobody listens while it is idle."""


def _fit_if_open(self: Any) -> bool:
    self._told = None
    return not self.closed


def _never(self: Any, entry: Any) -> float:
    return math.inf


def _closed_unnoticed(self: Any, entry: Any, now: float, error: BaseException | None = None) -> None:
    self._start_dials = lambda _: None
    try:
        _CLOSED(self, entry, now, error)
    finally:
        del self._start_dials


_CLOSED = Core.closed


def _room_for_one_more(self: Any, open_now: int) -> float:
    return _ROOM(self, open_now) + 1


_ROOM = Demand.room


def _of_any_generation(self: Any, entry: Any, now: float) -> CloseReason | None:
    reason = _REASON(self, entry, now)
    return None if reason is CloseReason.INVALIDATED else reason


_REASON = Core.reason_to_go


async def _connect_and_keep(self: Any, timeout: float) -> Any:
    self._session()
    await self._home.limiter.keep()
    self._kept += 1
    try:
        return await WebSocketPool.connect(self, timeout)
    except Exception:
        self._give_socket_up()
        raise


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "returned twice",
        "a second `put` ends the use of whoever was handed the connection",
        Patch(ConnectionPool, "_lent", _lent_to_anybody),
    ),
    Mutant(
        "lost on cancel",
        "who is cancelled as a connection is handed over keeps it",
        Patch(Callers, "_give_up", _leave_only),
    ),
    Mutant(
        "dials after close",
        "a closed pool still dials",
        Patch(Shell, "_enter", _enter_anyway),
        Patch(Core, "_start_dials", _start_dials_anyway),
    ),
    Mutant("newest first", "callers are served in reverse", Patch(Line, "pop", _newest)),
    Mutant("nobody listens", "an idle websocket is listened to by nobody", Patch(WebSocketPool, "rested", _deaf)),
    Mutant(
        "unread answers",
        "a websocket with answers to somebody else is handed out",
        Patch(WatchedWebSocket, "unwatch", _fit_if_open),
    ),
    Mutant("ageless", "age and idleness are looked at by nobody", Patch(Expiry, "deadline_of", _never)),
    Mutant("closed unnoticed", "the room that a close makes wakes nobody", Patch(Core, "closed", _closed_unnoticed)),
    Mutant("one too many", "there is room for one connection more", Patch(Demand, "room", _room_for_one_more)),
    Mutant(
        "any generation",
        "what was made before `invalidate` is used again",
        Patch(Core, "reason_to_go", _of_any_generation),
    ),
    Mutant(
        "socket kept",
        "a dial that is cancelled keeps its tree's socket",
        Patch(AgentWebSocketPool, "connect", _connect_and_keep),
    ),
)
