"""One request from its first try to its last: which agent, again or not, and what its one result says of it all.

Theory of operation
-------------------
A *try* is a whole request: it waits for a slot, is on the wire, and gives the slot back before anything is decided. So
no slot is ever held while a `Delivery` pauses, and each try queues like everybody else's request.

Around each try stands the agent's breaker. `begin` is called right before the try and every way out of it tells the
breaker how it went, cancellation included: a probe that never told would leave the agent ejected for ever.

An agent that the caller named stays his: it is tried again, no other. Where the pool chose, the next try goes to an
agent that has not failed this request yet, without a pause; only when all have is there one.

A refusal of admission (no slot in time, the pool closed, all breakers open) is raised if nothing was sent before it.
Later, the last failure is the result: it says more, and the caller has one result for what was sent.

A hedged try is a race of two tasks. However it ends (an answer, both failed, the caller cancelled) the loser is
cancelled *and waited for*: its slot and socket are back when the caller has the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from swarmpool.errors import AgentUnavailable, EmptyPool
from swarmpool.events import PoolEventKind
from swarmpool.health import BreakerState, verdict
from swarmpool.responses import Attempt, FailureKind
from swarmpool.results import REFUSALS
from swarmpool.retry import Budget
from swarmpool.routing import Candidates

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.exchange import Exchange
    from swarmpool.health import Breaker
    from swarmpool.responses import Response
    from swarmpool.routing import Key
    from swarmpool.tree import Tree

__all__ = ["Delivery", "Once", "Try", "of_all"]

_PROBE_SECONDS = 5.0
_REASONS_SHOWN = 5


class Try:
    """One try; `exchange` is there once it has a slot."""

    __slots__ = ("exchange",)

    def __init__(self) -> None:
        self.exchange: Exchange | None = None


Once = Callable[[int, Try], Awaitable[list["Response"]]]
"""Sends the request to the agent at that place of the view: one result, or those of a batch."""

Results = list["Response"]


def of_all(results: Sequence[Response]) -> Response:
    """The result that speaks for a batch: one that is good, else the first."""
    return next((response for response in results if response.success), results[0])


class Delivery:
    """One request of the view whose agents are `agents`; `once` sends it.

    `place` names the agent; with `movable` it is only where to begin, and None leaves that to the policy too.
    """

    def __init__(
        self,
        tree: Tree,
        agents: Sequence[Agent],
        once: Once,
        *,
        place: int | None,
        movable: bool,
        key: Key | None = None,
    ) -> None:
        self._tree = tree
        self._care = tree.care
        self._agents = agents
        self._once = once
        self._place = place
        self._movable = movable
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._tried: set[str] = set()
        self._earlier: list[Attempt] = []
        self._sent = False

    async def run(self) -> Results:
        """The results of the last try, which tell of the others. Raises what an admission raises."""
        if not self._agents:
            raise EmptyPool("this view has no agents")
        try:
            results = await self._run(Budget(self._care.retry, self._care.random, self._loop.time()))
        except asyncio.CancelledError:
            self._tree.counts.cancelled += self._sent
            raise
        return self._told(results)

    async def _run(self, budget: Budget) -> Results:
        failed: Results = []
        pause = 0.0
        while True:
            budget.tries += 1
            try:
                results = await self._try(self._choose())
            except REFUSALS:
                if not failed:
                    raise
                return failed
            if failed:
                self._earlier.append(_attempt(of_all(failed), pause))
            failed, speaker = results, of_all(results)
            further = budget.pause_after(speaker, self._loop.time(), elsewhere=self._movable and self._untried())
            if further is None:
                return results
            pause = further
            self._note(PoolEventKind.RETRIED, speaker, failure=speaker.kind, seconds=pause)
            await self._care.pause(pause)

    # ---------------------------------------------------------------------------------------------- which agent

    def _choose(self) -> int:
        """Where the next try goes. Raises `AgentUnavailable`."""
        self._tree.check_open()
        place = self._place
        if not self._movable:
            assert place is not None
            if self._allowed(self._agents[place]):
                return place
            raise self._unavailable([self._agents[place]])
        if self._tried and not self._untried():
            self._tried.clear()  # all have failed it once: another round
        if place is not None and not self._tried and self._fit(place):
            return place
        chosen = self._care.policy.choose(Candidates(self._agents, self._fit, self._care.random), self._key)
        if chosen is None:
            raise self._unavailable(self._agents)
        return chosen

    def _fit(self, place: int) -> bool:
        agent = self._agents[place]
        return agent.key not in self._tried and self._allowed(agent)

    def _untried(self) -> bool:
        """Whether there is an agent that has not failed this request and may be sent to."""
        return any(map(self._fit, range(len(self._agents))))

    def _allowed(self, agent: Agent) -> bool:
        breaker = self._care.breaker(agent)
        if breaker is None or not breaker.allows(self._loop.time()):
            return breaker is None
        assert self._care.health is not None
        if self._care.health.probe == "health" and breaker.state is BreakerState.OPEN:
            _ = self._tree.start(_ask_health(self._tree, agent, breaker, probe=breaker.begin(self._loop.time())))
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

    # ---------------------------------------------------------------------------------------------- one try

    async def _try(self, place: int) -> Results:
        delay = None
        hedging = self._care.hedging
        if hedging is not None and self._movable:
            delay = hedging.begun()
        results = await (self._guarded(place, Try()) if delay is None else self._race(place, delay))
        speaker = of_all(results)
        if hedging is not None and speaker.success:
            hedging.answered(speaker.wire_seconds)
        return results

    async def _guarded(self, place: int, attempt: Try) -> Results:
        """One try, of which the agent's breaker hears whatever becomes of it."""
        agent = self._agents[place]
        breaker = self._care.breaker(agent)
        probe = breaker is not None and breaker.begin(self._loop.time())
        self._tried.add(agent.key)
        try:
            results = await self._once(place, attempt)
        except BaseException:
            self._sent |= attempt.exchange is not None
            if breaker is not None:
                breaker.abandoned(self._loop.time(), probe=probe)
            raise
        self._sent = True
        if breaker is not None:
            _tell(breaker, of_all(results), self._loop.time(), probe=probe)
        return results

    async def _race(self, place: int, delay: float) -> Results:
        """The first good answer of two tries, the second of which begins after `delay` seconds."""
        tries = [Try()]
        runners = [asyncio.ensure_future(self._guarded(place, tries[0]))]
        try:
            await asyncio.wait(runners, timeout=delay)
            second = None if runners[0].done() else self._second()
            if second is not None:
                agent = self._agents[second]
                tries.append(Try())
                runners.append(asyncio.ensure_future(self._guarded(second, tries[1])))
                self._care.events.note(
                    PoolEventKind.HEDGED, agent.tree_index, agent.key, self._loop.time(), seconds=delay
                )
            winner = await _first_good(runners)
        finally:
            for runner in runners:
                runner.cancel()
            await asyncio.gather(*runners, return_exceptions=True)
        return self._won(runners, tries, winner)

    def _second(self) -> int | None:
        """Where the second try may go now, if anywhere."""
        hedging = self._care.hedging
        assert hedging is not None
        if self._tree.limiter.locked() or self._tree.limiter.waiting or not self._untried() or not hedging.take():
            return None
        return self._care.policy.choose(Candidates(self._agents, self._fit, self._care.random), self._key)

    def _won(self, runners: list[asyncio.Task[Results]], tries: list[Try], winner: int) -> Results:
        """The winner's results (or what it raised), and a word of the other."""
        results = runners[winner].result()
        for number, (runner, attempt) in enumerate(zip(runners, tries, strict=True)):
            if number == winner:
                continue
            if not runner.cancelled() and runner.exception() is None:
                self._earlier.append(_attempt(of_all(runner.result()), 0.0))
            elif attempt.exchange is not None:
                self._earlier.append(_lost(attempt.exchange))
        if winner == 1 and of_all(results).success:
            self._note(PoolEventKind.HEDGE_WON, of_all(results))
        return results

    # ---------------------------------------------------------------------------------------------- what is told

    def _note(
        self,
        kind: PoolEventKind,
        response: Response,
        *,
        failure: FailureKind | None = None,
        seconds: float | None = None,
    ) -> None:
        url = "" if response.endpoint is None else response.endpoint.url
        self._care.events.note(kind, response.tree_index, url, self._loop.time(), failure=failure, seconds=seconds)

    def _told(self, results: Results) -> Results:
        """The results, which now tell of all tries."""
        if self._earlier:
            earlier = tuple(self._earlier)
            for response in results:
                response.earlier = earlier
                response.attempts += sum(attempt.attempts for attempt in earlier)
                response.queue_seconds += sum(attempt.queue_seconds for attempt in earlier)
                response.wire_seconds += sum(attempt.wire_seconds for attempt in earlier)
        return results


async def _first_good(runners: Sequence[asyncio.Task[Results]]) -> int:
    """The number of the first runner with a good answer; where none has one, of the last to end."""
    left = set(runners)
    while True:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for number, runner in enumerate(runners):
            if runner in done and (not left or _is_good(runner)):
                return number


def _is_good(runner: asyncio.Task[Results]) -> bool:
    return not runner.cancelled() and runner.exception() is None and of_all(runner.result()).success


async def _ask_health(tree: Tree, agent: Agent, breaker: Breaker, *, probe: bool) -> None:
    """Probe with `GET /health`, whose answer is the agent's verdict."""
    loop = asyncio.get_running_loop()
    reason: str | None = "GET /health was not answered with 200"
    heard = False
    try:
        limit = tree.options.timeout
        exchange = await tree.admit(agent, _PROBE_SECONDS if limit is None else min(limit, _PROBE_SECONDS))
        try:
            outcome = await exchange.fetch("GET", "/health", None)
        finally:
            exchange.end()
        heard = True
        if outcome.failure is not None:
            reason = f"GET /health: {outcome.failure.message}"
        elif outcome.status == 200:
            reason = None
    except REFUSALS:
        pass  # no slot to ask with says nothing about the agent
    finally:
        _conclude(breaker, loop.time(), reason, heard=heard, probe=probe)


def _conclude(breaker: Breaker, now: float, reason: str | None, *, heard: bool, probe: bool) -> None:
    if not heard:
        breaker.abandoned(now, probe=probe)
    elif reason is None:
        breaker.succeeded(now, probe=probe)
    else:
        breaker.failed(now, reason, probe=probe)


def _tell(breaker: Breaker, response: Response, now: float, *, probe: bool) -> None:
    fit = verdict(response)
    reason = None if fit else f"{response.kind}: {response.error}"
    _conclude(breaker, now, reason, heard=fit is not None, probe=probe)


def _attempt(response: Response, pause: float) -> Attempt:
    return Attempt(
        tree_index=response.tree_index,
        kind=response.kind,
        error=response.error,
        status=response.status,
        connection=response.connection,
        attempts=response.attempts,
        queue_seconds=response.queue_seconds,
        wire_seconds=response.wire_seconds,
        pause_seconds=pause,
    )


def _lost(exchange: Exchange) -> Attempt:
    return Attempt(
        tree_index=exchange.agent.tree_index,
        kind=None,
        error="another agent had answered before it",
        status=None,
        connection=exchange.connection,
        attempts=exchange.attempts,
        queue_seconds=exchange.queue_seconds,
        wire_seconds=exchange.wire_seconds,
        pause_seconds=0.0,
    )
