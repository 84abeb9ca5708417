"""One request from its first try to its last: which agent, again or not, and what its one result says of it all.

Theory of operation
-------------------
A *try* is a whole request: it waits for a slot, is on the wire, and gives the slot back before anything is decided. So
no slot is ever held while a `Delivery` pauses, and each try queues like everybody else's request.

Around each try stands a `Guard` of the agent's breaker, and every way out of it tells how it went, cancellation
included.

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

from swarmpool.events import PoolEventKind
from swarmpool.responses import Attempt
from swarmpool.results import REFUSALS
from swarmpool.retry import Budget

if TYPE_CHECKING:
    from swarmpool.care import Care
    from swarmpool.exchange import Exchange
    from swarmpool.responses import FailureKind, Response
    from swarmpool.route import Guard, Route
    from swarmpool.tree import Tree

__all__ = ["Delivery", "Once", "Try", "attempt_of", "lost", "note", "of_all", "told"]


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
    """One request that goes where `route` says; `once` sends it."""

    def __init__(self, tree: Tree, route: Route, once: Once) -> None:
        self._tree = tree
        self._care = tree.care
        self._route = route
        self._once = once
        self._loop = asyncio.get_running_loop()
        self._earlier: list[Attempt] = []
        self._sent = False

    async def run(self) -> Results:
        """The results of the last try, which tell of the others. Raises what an admission raises."""
        try:
            results = await self._run(Budget(self._care.retry, self._care.random, self._loop.time()))
        except asyncio.CancelledError:
            self._tree.counts.cancelled += self._sent
            raise
        return [told(response, self._earlier) for response in results]

    async def _run(self, budget: Budget) -> Results:
        failed: Results = []
        pause = 0.0
        while True:
            budget.tries += 1
            try:
                results = await self._try(self._route.choose())
            except REFUSALS:
                if not failed:
                    raise
                return failed
            if failed:
                self._earlier.append(attempt_of(of_all(failed), pause))
            failed, speaker = results, of_all(results)
            elsewhere = budget.allows(speaker) and self._route.moves_on()
            further = budget.pause_after(speaker, self._loop.time(), elsewhere=elsewhere)
            if further is None:
                return results
            pause = further
            note(self._care, PoolEventKind.RETRIED, speaker, failure=speaker.kind, seconds=pause)
            await self._care.pause(pause)

    async def _try(self, place: int) -> Results:
        delay = None
        hedging = self._care.hedging
        if hedging is not None and self._route.movable:
            delay = hedging.begun()
        guard = self._route.guard(place)  # now: whoever chooses next, in this very turn, must find a probe taken
        results = await (self._guarded(guard, place, Try()) if delay is None else self._race(guard, place, delay))
        speaker = of_all(results)
        if hedging is not None and speaker.success:
            hedging.answered(speaker.wire_seconds)
        return results

    async def _guarded(self, guard: Guard, place: int, attempt: Try) -> Results:
        """One try, of which the agent's breaker hears whatever becomes of it."""
        try:
            results = await self._once(place, attempt)
            guard.heard(of_all(results))
        finally:
            guard.lost()
            self._sent |= attempt.exchange is not None
        return results

    async def _race(self, guard: Guard, place: int, delay: float) -> Results:
        """The first good answer of two tries, the second of which begins after `delay` seconds."""
        tries = [Try()]
        runners = [asyncio.ensure_future(self._guarded(guard, place, tries[0]))]
        try:
            await asyncio.wait(runners, timeout=delay)
            second = None if runners[0].done() else self._second()
            if second is not None:
                agent = self._route.agent(second)
                tries.append(Try())
                runners.append(asyncio.ensure_future(self._guarded(self._route.guard(second), second, tries[1])))
                self._care.events.note(
                    PoolEventKind.HEDGED, agent.tree_index, agent.key, self._loop.time(), seconds=delay
                )
            winner = await _winner(runners)
        finally:
            for runner in runners:
                runner.cancel()
            await asyncio.gather(*runners, return_exceptions=True)
        return self._won(runners, tries, winner)

    def _second(self) -> int | None:
        """Where the second try may go now, if anywhere."""
        hedging = self._care.hedging
        assert hedging is not None
        if self._tree.limiter.locked() or self._tree.limiter.waiting:
            return None
        second = self._route.another() if hedging.spare else None
        return second if second is not None and hedging.take() else None

    def _won(self, runners: list[asyncio.Task[Results]], tries: list[Try], winner: int) -> Results:
        """The winner's results (or what it raised), and a word of the other."""
        results = runners[winner].result()
        for number, (runner, attempt) in enumerate(zip(runners, tries, strict=True)):
            if number == winner:
                continue
            if not runner.cancelled() and runner.exception() is None:
                self._earlier.append(attempt_of(of_all(runner.result()), 0.0))
            elif attempt.exchange is not None:
                self._earlier.append(lost(attempt.exchange))
        if winner == 1 and of_all(results).success:
            note(self._care, PoolEventKind.HEDGE_WON, of_all(results))
        return results


async def _winner(runners: Sequence[asyncio.Task[Results]]) -> int:
    """The number of the first runner to decide the race; where none does, of the last that was not refused a slot."""
    left, last = set(runners), 0
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        ended = [number for number, runner in enumerate(runners) if runner in done]
        for number in ended:
            if _decides(runners[number]):
                return number
        last = next((number for number in ended if not _was_refused(runners[number])), last)
    return last


def _decides(runner: asyncio.Task[Results]) -> bool:
    """A good answer does, and what is no failure of an agent's: a bug, or a cancellation."""
    if runner.cancelled() or runner.exception() is not None:
        return not _was_refused(runner)
    return of_all(runner.result()).success


def _was_refused(runner: asyncio.Task[Results]) -> bool:
    return not runner.cancelled() and isinstance(runner.exception(), REFUSALS)


def note(
    care: Care,
    kind: PoolEventKind,
    response: Response,
    *,
    failure: FailureKind | None = None,
    seconds: float | None = None,
) -> None:
    """An event about the agent that a result is of."""
    url = "" if response.endpoint is None else response.endpoint.url
    now = asyncio.get_running_loop().time()
    care.events.note(kind, response.tree_index, url, now, failure=failure, seconds=seconds)


def told(response: Response, earlier: Sequence[Attempt]) -> Response:
    """The last result, which now tells of all tries."""
    if earlier:
        response.earlier = tuple(earlier)
        response.attempts += sum(attempt.attempts for attempt in earlier)
        response.queue_seconds += sum(attempt.queue_seconds for attempt in earlier)
        response.wire_seconds += sum(attempt.wire_seconds for attempt in earlier)
    return response


def attempt_of(response: Response, pause: float) -> Attempt:
    """What is told of a try that was not the last."""
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


def lost(exchange: Exchange) -> Attempt:
    """What is told of a try that was cancelled as another agent had answered."""
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
