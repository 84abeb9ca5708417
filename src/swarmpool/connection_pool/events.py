"""Every transition of a connection pool as a frozen record, given to `on_event` in the order of what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from swarmpool.connection_pool.states import CloseReason

__all__ = ["ConnectionEvent", "EventKind", "EventSink", "Note"]

logger = logging.getLogger("swarmpool")


class EventKind(StrEnum):
    """What happened: first to a connection, then to a caller, then to the pool."""

    DIALING = "dialing"
    FAILED = "failed"  # the dial ended without a connection; `error` says why
    OPENED = "opened"  # `seconds`: how long the dial took
    IDLE = "idle"  # returned, or dialled and not taken
    LEASED = "leased"  # taken for a caller, who is not told before it has passed its check
    CLOSING = "closing"  # `reason` says why
    CLOSED = "closed"  # `error` if `close_cb` failed or took too long

    WAITING = "waiting"
    ACQUIRED = "acquired"  # `reused`, and `seconds` waited
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    REFUSED = "refused"  # the dial it waited for failed; `error` says why
    CLOSED_OUT = "closed_out"  # it waited when the pool was closed

    INVALIDATED = "invalidated"
    POOL_CLOSING = "pool_closing"
    POOL_CLOSED = "pool_closed"


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """One transition. `sequence` counts from 1 without gaps, `at` is the loop's time in seconds.

    `connection` is the number of the connection in its pool, and `caller` that of a caller that could not be served at
    once, both counted from 1 in order of arrival. `error` is the name of an exception's
    type and never its message, which may hold a URL or a header.
    """

    sequence: int
    at: float
    kind: EventKind
    connection: int | None = None
    caller: int | None = None
    reason: CloseReason | None = None
    reused: bool | None = None
    seconds: float | None = None
    error: str | None = None


class Note(Protocol):
    """Where transitions are told; see `EventSink.note`."""

    def __call__(
        self,
        kind: EventKind,
        connection: int | None = None,
        *,
        caller: int | None = None,
        reason: CloseReason | None = None,
        reused: bool | None = None,
        seconds: float | None = None,
        error: BaseException | None = None,
    ) -> None: ...


class EventSink:
    """Numbers the events and gives them to the listener. One that raises changes nothing; the first time is logged."""

    def __init__(self, listener: Callable[[ConnectionEvent], object]) -> None:
        self._listener = listener
        self._sequence = 0
        self._complained = False

    def note(
        self,
        kind: EventKind,
        connection: int | None = None,
        *,
        caller: int | None = None,
        reason: CloseReason | None = None,
        reused: bool | None = None,
        seconds: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Tell the listener."""
        self._sequence += 1
        now = asyncio.get_running_loop().time()
        name = None if error is None else type(error).__name__
        event = ConnectionEvent(self._sequence, now, kind, connection, caller, reason, reused, seconds, name)
        try:
            self._listener(event)
        except Exception as failure:  # noqa: BLE001 - a listener's failure is nobody else's
            if not self._complained:
                self._complained = True
                logger.warning("a listener of a connection pool raised %s", type(failure).__name__)
