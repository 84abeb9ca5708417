"""Which agent a request's next try goes to, and the breaker that stands before each of them.

A `Route` belongs to one request. It knows who has failed that request already, so that where the pool may choose, the
next try goes to somebody else; when all have, it begins another round. `guard` is called right before a try and its
`Guard` must hear how the try ended, whatever became of it: a probe that never told would leave the agent ejected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarmpool.errors import AgentUnavailable, EmptyPool
from swarmpool.health import BreakerState, verdict
from swarmpool.readiness import ask_health
from swarmpool.results import REFUSALS
from swarmpool.routing import Candidates

if TYPE_CHECKING:
    from swarmpool.adaptive import Pacing
    from swarmpool.agents import Agent
    from swarmpool.health import Breaker
    from swarmpool.responses import Response
    from swarmpool.routing import Key
    from swarmpool.tree import Tree

__all__ = ["Guard", "Route"]

_REASONS_SHOWN = 5


class Guard:
    """One try, as its agent's breaker sees it. Only the first of its calls counts."""

    __slots__ = ("_agent", "_breaker", "_loop", "_pacing", "_probe")

    def __init__(self, agent: Agent, breaker: Breaker | None, pacing: Pacing | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._agent = agent
        self._breaker = breaker
        self._pacing = pacing
        self._probe = breaker is not None and breaker.begin(self._loop.time())

    def heard(self, response: Response) -> None:
        """It has ended with a result."""
        if self._pacing is not None:
            self._pacing.heard(self._agent.key, response, self._loop.time())
            self._pacing = None
        fit = verdict(response)
        self.conclude(None if fit else f"{response.kind}: {response.error}", heard=fit is not None)

    def lost(self) -> None:
        """It has ended without one: cancelled, or refused a slot."""
        self._pacing = None
        self.conclude(None, heard=False)

    def conclude(self, reason: str | None, *, heard: bool) -> None:
        """Tell the breaker: well (no reason), badly, or nothing at all."""
        breaker, now = self._breaker, self._loop.time()
        self._breaker = None
        if breaker is None:
            return
        if not heard:
            breaker.abandoned(now, probe=self._probe)
        elif reason is None:
            breaker.succeeded(now, probe=self._probe)
        else:
            breaker.failed(now, reason, probe=self._probe)


class Route:
    """Where one request of the view whose agents are `agents` may go.

    `place` names the agent; with `movable` it is only where to begin, and None leaves that to the policy too.
    """

    def __init__(
        self, tree: Tree, agents: Sequence[Agent], *, place: int | None, movable: bool, key: Key | None = None
    ) -> None:
        if not agents:
            raise EmptyPool("this view has no agents")
        self._tree = tree
        self._care = tree.care
        self._agents = agents
        self._place = place
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._tried: set[str] = set()
        self._next: int | None = None
        self.movable = movable

    def agent(self, place: int) -> Agent:
        """The agent at that place of the view."""
        return self._agents[place]

    def guard(self, place: int) -> Guard:
        """A try at that place begins."""
        agent = self._agents[place]
        self._tried.add(agent.key)
        return Guard(agent, self._care.breaker(agent), self._care.pacing)

    def moves_on(self) -> bool:
        """Whether the next try goes to an agent that was not tried yet: it is chosen now, and `choose` gives it."""
        self._next = self.another() if self.movable else None
        return self._next is not None

    def choose(self) -> int:
        """The place the next try goes to. Raises `AgentUnavailable`, and `PoolClosed`."""
        self._tree.check_open()
        place = self._place
        if not self.movable:
            assert place is not None
            if self._allowed(self._agents[place]):
                return place
            raise self._unavailable([self._agents[place]])
        chosen, self._next = self._next, None
        if chosen is None or not self._fit(chosen):
            chosen = self._first() if not self._tried else self.another()
        if chosen is None and self._tried:
            self._tried.clear()  # all that may have it have failed it once: another round
            chosen = self._first()
        if chosen is None:
            raise self._unavailable(self._agents)
        return chosen

    def another(self) -> int | None:
        """What the policy chooses among those not tried, if it chooses any."""
        policy = self._care.policy
        place = policy.choose(Candidates(self._agents, self._fit, self._care.random), self._key)
        if place is not None and not (place in range(len(self._agents)) and self._fit(place)):
            raise ValueError(f"routing: {policy!r} chose {place!r}, expected the place of a fit agent or None")
        return place

    def _first(self) -> int | None:
        place = self._place
        return place if place is not None and self._fit(place) else self.another()

    def _fit(self, place: int) -> bool:
        agent = self._agents[place]
        return agent.key not in self._tried and self._allowed(agent)

    def _allowed(self, agent: Agent) -> bool:
        breaker = self._care.breaker(agent)
        if breaker is None or not breaker.allows(self._loop.time()):
            return breaker is None
        assert self._care.health is not None
        if self._care.health.probe == "health" and breaker.state is BreakerState.OPEN:
            _ = self._tree.start(_ask_health(self._tree, agent, Guard(agent, breaker)))
            return False
        return True

    def _unavailable(self, agents: Sequence[Agent]) -> AgentUnavailable:
        now, care = self._loop.time(), self._care
        left_alone = [agent for agent in agents if care.state(agent) is not BreakerState.CLOSED]
        if not left_alone:
            return AgentUnavailable(f"{care.policy!r} chose none of {len(agents)} agents")
        breakers = [(agent, care.breaker(agent)) for agent in left_alone[:_REASONS_SHOWN]]
        reasons = [f"{agent}: {breaker.why(now)}" for agent, breaker in breakers if breaker is not None]
        more = len(left_alone) - len(reasons)
        shown = "; ".join(reasons) + (f"; and {more} more" if more else "")
        return AgentUnavailable(f"{len(left_alone)} of {len(agents)} agents have failed too often: {shown}")


async def _ask_health(tree: Tree, agent: Agent, guard: Guard) -> None:
    """Probe with `GET /health`, whose answer is the agent's verdict."""
    try:
        reason = await ask_health(tree, agent)
        guard.conclude(reason and f"GET /health: {reason}", heard=True)
    except REFUSALS:
        pass  # no slot to ask with says nothing about the agent
    finally:
        guard.lost()
