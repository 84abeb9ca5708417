"""How many dials are wanted, and how many may be started.

Wanted is one for each caller that waits and is not covered by a dial under way, or for each connection that a `prewarm`
still misses, whichever is more: a caller that comes while a prewarm dials takes that dial, and opens no other. Dials of
an earlier generation cover nobody. What may be started is bounded by `max_size`, by `max_dialing`, and, after a failed
dial, by the backoff: one at a time, and not before its time.
"""

from __future__ import annotations

import math
from random import Random

from swarmpool.connection_pool.backoff import Backoff
from swarmpool.connection_pool.options import ConnectionPoolOptions

__all__ = ["Demand", "Warming"]


class Warming:
    """One `prewarm`: it is over when `remaining` more dials have connected, or one has failed."""

    __slots__ = ("owner", "remaining")

    def __init__(self, remaining: int, owner: object) -> None:
        self.remaining = remaining
        self.owner = owner


class Demand:
    """The dials of one pool. `open` and `dialing` are the pool's gauges, `waiting` the callers in line."""

    __slots__ = ("_options", "backoff", "fresh", "held_back", "warmings")

    def __init__(self, options: ConnectionPoolOptions, random: Random) -> None:
        self._options = options
        self.backoff = Backoff(delay=options.reconnect_delay, most=options.max_reconnect_delay, random=random)
        self.fresh = 0
        """Dials under way of the present generation."""
        self.held_back = False
        """Whether a dial is wanted that may not start before `backoff.until`."""
        self.warmings: list[Warming] = []

    @property
    def due(self) -> float:
        """When a dial that is held back may start; infinity for never."""
        return self.backoff.until if self.held_back else math.inf

    def room(self, open_now: int) -> float:
        """How many more connections there may be."""
        return math.inf if self._options.max_size is None else self._options.max_size - open_now

    def startable(self, now: float, open_now: int, dialing: int) -> float:
        """How many dials may be started."""
        number = self.room(open_now)
        if self._options.max_dialing is not None:
            number = min(number, self._options.max_dialing - dialing)
        if self.backoff.active:
            number = min(number, 1 - self.fresh) if now >= self.backoff.until else 0
        return max(number, 0)

    def uncovered(self, waiting: int) -> int:
        """How many dials are wanted beyond those under way; below 0 if some of those are not needed any more."""
        wanted = waiting
        for warming in self.warmings:
            wanted = max(wanted, warming.remaining)
        return wanted - self.fresh

    def to_start(self, now: float, waiting: int, open_now: int, dialing: int) -> int:
        """How many dials to start now."""
        wanted = self.uncovered(waiting)
        self.held_back = wanted > 0 and self.backoff.active and now < self.backoff.until
        return int(min(wanted, self.startable(now, open_now, dialing))) if wanted > 0 else 0

    def helped(self) -> list[Warming]:
        """A dial has connected; return the prewarms that are over with it."""
        for warming in self.warmings:
            warming.remaining -= 1
        done = [warming for warming in self.warmings if warming.remaining <= 0]
        self.warmings = [warming for warming in self.warmings if warming.remaining > 0]
        return done

    def begin_again(self) -> None:
        """A new generation: the dials under way cover nobody, and what failed had other settings."""
        self.fresh = 0
        self.backoff.succeeded()
