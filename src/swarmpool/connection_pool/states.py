"""The life of one connection, and the record that the pool keeps of it.

A connection is DIALING from before the attempt to connect, IDLE while nobody has it, LEASED while one caller has it,
CLOSING from our decision to end it until `close_cb` is done, and then CLOSED. All but CLOSED count against `max_size`.
`_MOVES` is the whole life; an illegal move raises and changes nothing.

A dial that ends with a connection nobody may have any more (the pool was invalidated or closed meanwhile) goes from
DIALING to CLOSING: it was opened, and must be closed.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Generic, TypeVar

__all__ = ["CloseReason", "ConnectionState", "Entry"]

T = TypeVar("T")


class ConnectionState(IntEnum):
    """Where a connection is in its life."""

    DIALING = 0
    IDLE = 1
    LEASED = 2
    CLOSING = 3
    CLOSED = 4


_DIALING, _IDLE, _LEASED, _CLOSING, _CLOSED = ConnectionState
_MOVES = {
    _DIALING: frozenset({_IDLE, _CLOSING, _CLOSED}),
    _IDLE: frozenset({_LEASED, _CLOSING}),
    _LEASED: frozenset({_IDLE, _CLOSING}),
    _CLOSING: frozenset({_CLOSED}),
    _CLOSED: frozenset[ConnectionState](),
}


class CloseReason(Enum):
    """Why the pool closed a connection."""

    DISCARDED = "discarded"  # by whoever had it
    EXPIRED = "expired"  # too old, or idle for too long
    INVALIDATED = "invalidated"  # of a generation before `invalidate`
    LOST = "lost"  # its peer ended it
    INVALID = "invalid"  # `validate_cb` said no
    EVICTED = "evicted"  # to make room, by `shrink`
    POOL_CLOSED = "pool_closed"


class Entry(Generic[T]):
    """What the pool knows of one connection. T is told by its identity: it need not be hashable."""

    __slots__ = (
        "connection",
        "fresh",
        "generation",
        "guarded",
        "idle_since",
        "lifetime",
        "lost",
        "number",
        "opened_at",
        "probe",
        "reused",
        "scheduled",
        "session_since",
        "started_at",
        "state",
        "turn",
        "uses",
    )

    def __init__(self, number: int, *, generation: int, started_at: float, lifetime: float) -> None:
        self.number = number
        self.generation = generation  # the pool's when the dial began: a handshake carries the settings of its start
        self.started_at = started_at
        self.lifetime = lifetime  # the part of each age limit that this connection gets: 1, less its jitter
        self.state = _DIALING
        self.connection: T | None = None
        self.opened_at = self.session_since = self.idle_since = started_at
        self.uses = 0
        self.turn = 0  # one more at each lease: an old lease is known by its old turn
        self.fresh = False  # whether it has not been idle since its dial, so that there is nothing to check
        self.reused = False  # whether its present holder got it not fresh
        self.guarded = False  # whether only its lease can end its use, and not a bare `put` or `remove`
        self.lost = False
        self.probe = False  # whether it was dialled for all who waited for the server to come back
        self.scheduled = False

    def move(self, after: ConnectionState) -> ConnectionState:
        """Go to `after` and return the state before, or raise RuntimeError and stay."""
        before = self.state
        if after not in _MOVES[before]:
            raise RuntimeError(f"connection {self.number} is {before.name} and cannot become {after.name}")
        self.state = after
        return before

    def __repr__(self) -> str:
        return f"<Entry {self.number} {self.state.name}>"
