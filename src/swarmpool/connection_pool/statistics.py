"""What a connection pool has done and does, as one frozen record."""

from __future__ import annotations

from dataclasses import dataclass

from swarmpool.lifecycle import State

__all__ = ["ConnectionPoolStatistics", "Counters"]


class Counters:
    """What only grows. Each caller that asks ends in exactly one of the first seven."""

    __slots__ = (
        "abandoned",
        "cancelled",
        "close_failed",
        "closed",
        "closed_out",
        "discarded",
        "evicted",
        "expired",
        "failed",
        "handed_back",
        "ignored",
        "immediate",
        "invalid",
        "invalidated",
        "lost",
        "opened",
        "pool_closed",
        "refused",
        "rejected",
        "reused",
        "timed_out",
        "waited",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    immediate: int
    waited: int
    timed_out: int
    cancelled: int
    rejected: int
    refused: int
    closed_out: int
    opened: int
    closed: int
    failed: int
    reused: int
    discarded: int
    expired: int
    invalidated: int
    lost: int
    invalid: int
    evicted: int
    pool_closed: int
    close_failed: int
    abandoned: int
    handed_back: int
    ignored: int

    @property
    def ended(self) -> int:
        """Callers that have their answer."""
        served = self.immediate + self.waited
        return served + self.timed_out + self.cancelled + self.rejected + self.refused + self.closed_out


@dataclass(frozen=True, slots=True)
class ConnectionPoolStatistics:
    """One moment of a pool, consistent with itself.

    Connections. Gauges: `open = dialing + idle + leased + closing`, never more than `max_size`. Only growing: `opened`
    and `closed` (`opened - closed = idle + leased + closing`), `failed` dials that never connected, and why connections
    were closed: `discarded` by their holder, `expired` by age or idleness, `invalidated`, `lost` to their peer,
    `invalid` by their check, `evicted` to make room, `pool_closed` with the pool. `close_failed` counts closes that
    raised or took longer than `close_timeout`, `abandoned` calls of `connect_cb` and `close_cb` that would not end even
    when cancelled.

    Callers. Gauges: `waiting` for a connection, `checking` one they were handed. Only growing, each caller in one:
    `attempts = immediate + waited + timed_out + cancelled + rejected + refused + closed_out + waiting + checking`.
    `refused` are those whose dial failed. `reused` counts acquired connections that did not come fresh from their dial,
    `handed_back` those whose caller was cancelled before it could take them, `ignored` puts and removes of what was not
    leased out.
    """

    state: State
    max_size: int | None
    open: int
    peak_open: int
    dialing: int
    idle: int
    leased: int
    closing: int
    waiting: int
    checking: int
    attempts: int
    immediate: int
    waited: int
    timed_out: int
    cancelled: int
    rejected: int
    refused: int
    closed_out: int
    opened: int
    closed: int
    failed: int
    reused: int
    discarded: int
    expired: int
    invalidated: int
    lost: int
    invalid: int
    evicted: int
    pool_closed: int
    close_failed: int
    abandoned: int
    handed_back: int
    ignored: int
