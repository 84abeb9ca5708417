"""What a tree shares so that requests survive agents that fail: policies, breakers, latencies, chance, pauses, events.

`delivery.py` does the work; this only remembers. It does not know the tree, which owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from swarmpool.adaptive import Adaptive, Pacing
from swarmpool.events import PoolEvent, PoolEventKind, PoolEvents
from swarmpool.health import Breaker, BreakerState, Health
from swarmpool.hedging import Hedge, Hedging
from swarmpool.retry import Retry
from swarmpool.routing import Policy, RoundRobin
from swarmpool.statistics import CareStatistics

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.limiter import Limiter

__all__ = ["Care", "CareOptions"]

ONE_TRY = Retry(tries=1)

_EVENT_OF = {
    BreakerState.OPEN: PoolEventKind.EJECTED,
    BreakerState.HALF_OPEN: PoolEventKind.PROBING,
    BreakerState.CLOSED: PoolEventKind.RETURNED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CareOptions:
    """A pool's arguments of these names, checked. None is off."""

    retry: Retry | None = None
    health: Health | None = None
    routing: Policy | None = None
    hedge: Hedge | None = None
    seed: int | None = None
    on_event: Callable[[PoolEvent], object] | None = None
    adaptive: Adaptive | None = None

    def __post_init__(self) -> None:
        kinds = {"retry": Retry, "health": Health, "hedge": Hedge, "adaptive": Adaptive, "seed": int}
        for name, wanted in kinds.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, wanted):
                raise TypeError(f"{name} must be {_a(wanted)} or None, not {value!r}")
        if self.routing is not None and (isinstance(self.routing, type) or not isinstance(self.routing, Policy)):
            raise TypeError(
                f"routing must be an object with choose(candidates, key), such as PowerOfTwo(), or None, "
                f"not {self.routing!r}"
            )
        if self.on_event is not None and not callable(self.on_event):
            raise TypeError(f"on_event must be callable or None, not {self.on_event!r}")


def _a(wanted: type) -> str:
    if wanted is int:
        return "a whole number"
    return f"an {wanted.__name__}" if wanted is Adaptive else f"a {wanted.__name__}"


class Care:
    """One for each tree."""

    def __init__(self, options: CareOptions) -> None:
        self.retry = options.retry or ONE_TRY
        self.health = options.health
        self.policy = options.routing or RoundRobin()
        self.follows_policy = options.routing is not None
        """Whether calls with many prompts ask the policy too: without one, prompt i goes to agent i % size."""
        self.hedging = None if options.hedge is None else Hedging(options.hedge)
        self.stream_hedging = None if options.hedge is None else Hedging(options.hedge)
        """The same for streams, whose latency is that of their first text."""
        self.random = Random(options.seed)
        self.events = PoolEvents(options.on_event)
        self.adaptive = options.adaptive
        self.pacing: Pacing | None = None
        self.moves = not (options.retry is None and options.health is None and options.adaptive is None)
        """Whether a prompt among many may go elsewhere for the sake of its agent."""
        self.plain = not self.moves
        """Whether a request to a named agent is just sent: nobody cares how it goes, nor is told."""
        self._breakers: dict[str, Breaker] = {}
        self._pauses: set[asyncio.Future[None]] = set()
        self._woken = False

    def pace(self, limiter: Limiter) -> None:
        """`limiter` is the tree's; with `adaptive` its caps follow what the agents bear."""
        if self.adaptive is not None:
            self.pacing = Pacing(self.adaptive, limiter)

    def breaker(self, agent: Agent) -> Breaker | None:
        """The agent's breaker; None where there are none. An agent that is listed twice has one."""
        if self.health is None:
            return None
        breaker = self._breakers.get(agent.key)
        if breaker is None:
            breaker = self._breakers[agent.key] = Breaker(self.health, partial(self._moved, agent))
        return breaker

    def state(self, agent: Agent) -> BreakerState:
        """Where the agent's breaker stands."""
        breaker = self._breakers.get(agent.key)
        return BreakerState.CLOSED if breaker is None else breaker.state

    def ejected(self, agents: Iterable[Agent]) -> int:
        """How many of them get nothing, or a probe only."""
        return sum(self.state(agent) is not BreakerState.CLOSED for agent in agents) if self._breakers else 0

    def statistics(self, agents: Iterable[Agent]) -> CareStatistics:
        """What was done, with `agents` those of the whole tree."""
        counts = {kind.value: count for kind, count in self.events.counts.items()}
        return CareStatistics(ejected_now=self.ejected(agents), **counts)

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until `wake`, after which nobody waits. Cancelling it leaves nothing."""
        if seconds <= 0 or self._woken:
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _end, over)
        self._pauses.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._pauses.discard(over)

    def wake(self) -> None:
        """The tree closes: nobody pauses any longer, nor begins to."""
        self._woken = True
        for over in self._pauses:
            _end(over)

    def _moved(self, agent: Agent, after: BreakerState, now: float) -> None:
        self.events.note(_EVENT_OF[after], agent.tree_index, agent.key, now)


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
