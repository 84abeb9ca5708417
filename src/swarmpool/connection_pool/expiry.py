"""When connections must go, and which of the idle ones is next.

`Expiry` is a heap with at most one item for each connection, pushed when it becomes idle. An item's time is a lower
bound, because a deadline only ever moves back: when it comes up the deadline is asked again. Idle and due means closed,
idle and not due means pushed again, leased means dropped until the connection comes back. So a get and a put on an idle
connection do not touch the heap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from swarmpool.connection_pool.options import ConnectionPoolOptions
from swarmpool.connection_pool.states import ConnectionState, Entry

__all__ = ["Expiry"]

T = TypeVar("T")

_FEW = 64


class Expiry(Generic[T]):
    """The deadlines of one pool's connections."""

    __slots__ = ("_heap", "_options", "mortal", "stirred")

    def __init__(self, options: ConnectionPoolOptions) -> None:
        self._options = options
        self._heap: list[tuple[float, int, Entry[T]]] = []
        self.mortal = not (options.max_session_duration is options.max_age is options.max_idle is None)
        """Whether there are deadlines at all."""
        self.stirred = False
        """Whether `due` may have come nearer since somebody set this to False."""

    @property
    def due(self) -> float:
        """When `expired` must be asked next; infinity for never."""
        return self._heap[0][0] if self._heap else math.inf

    def deadline_of(self, entry: Entry[T]) -> float:
        """When `entry` must not be used again."""
        options, when = self._options, math.inf
        if options.max_session_duration is not None:
            when = entry.session_since + options.max_session_duration * entry.lifetime
        if options.max_age is not None:
            when = min(when, entry.opened_at + options.max_age * entry.lifetime)
        if options.max_idle is not None:
            when = min(when, entry.idle_since + options.max_idle)
        return when

    def over(self, entry: Entry[T], now: float) -> bool:
        """Whether the deadline of `entry` has come."""
        return self.mortal and self.deadline_of(entry) <= now

    def watch(self, entry: Entry[T], among: int) -> None:
        """`entry` has become idle, one of `among` connections that live."""
        if not self.mortal or entry.scheduled:
            return
        if len(self._heap) > 2 * among + _FEW:
            self._forget_the_dead()
        heappush(self._heap, (self.deadline_of(entry), entry.number, entry))
        entry.scheduled = self.stirred = True

    def expired(self, now: float) -> Iterator[Entry[T]]:
        """The idle connections whose deadline has come, one at a time."""
        while self.due <= now:
            _, _, entry = heappop(self._heap)
            entry.scheduled = False
            if entry.state is not ConnectionState.IDLE:
                continue
            if self.over(entry, now):
                yield entry
            else:
                self.watch(entry, len(self._heap))

    def clear(self) -> None:
        """Nothing expires any more: the pool is closed."""
        self._heap.clear()

    def _forget_the_dead(self) -> None:
        living = (ConnectionState.IDLE, ConnectionState.LEASED)
        self._heap[:] = [item for item in self._heap if item[2].state in living]
        heapify(self._heap)
