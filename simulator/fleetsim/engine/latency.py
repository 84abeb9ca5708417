"""An engine of fixed delays: time to first token, then one inter-token latency per token, each with jitter.

Times are absolute: a token's place in time follows from its predecessor's, not from when the loop got round to it, so a
busy loop delays tokens but never stretches the answer. A request holds one timer, however many sequences it has;
without latency it holds none and never waits.

An engine may be slowed down and stopped while requests run. What waits for a token is in its `_Running`, and is woken
to raise; what does not wait at that moment finds the reason there when it comes to wait again.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Sequence

from fleetsim.engine.halts import AbortedError, EngineHaltedError
from fleetsim.engine.jitter import jitter
from fleetsim.engine.jobs import Generation, Job
from fleetsim.profile import Profile

__all__ = ["LatencyEngine"]

# Without latency a stream would keep the loop for its whole length; vLLM too hands outputs over in slices of 128
# (VLLM_V1_OUTPUT_PROC_CHUNK_SIZE).
_SLICE = 128


class _Running:
    """The generations of an engine until it is stopped: `waiting` for a token, and why they were `stopped`."""

    __slots__ = ("stopped", "waiting")

    def __init__(self) -> None:
        self.stopped: type[EngineHaltedError] | None = None
        self.waiting: dict[asyncio.Future[type[EngineHaltedError] | None], None] = {}

    def stop(self, reason: type[EngineHaltedError]) -> None:
        self.stopped = reason
        for woken in self.waiting:
            if not woken.done():
                woken.set_result(reason)


class LatencyEngine:
    """Delays as `profile` says. `chance` is needed only where `profile.jitter` is on."""

    __slots__ = ("_draw", "_instant", "_itl", "_prefill_per_token", "_running", "_steady_draw", "_ttft", "_varies")

    def __init__(self, profile: Profile, *, chance: random.Random | None = None) -> None:
        self._ttft = profile.ttft
        self._itl = profile.itl
        self._prefill_per_token = profile.prefill_per_token
        self._instant = not (profile.ttft or profile.itl or profile.prefill_per_token)
        self._draw = self._steady_draw = jitter(profile.jitter, profile.spread, chance)
        self._varies = self._draw is not float
        self._running = _Running()

    def generate(self, jobs: Sequence[Job]) -> Generation:
        """See `Engine.generate`."""
        if self._instant:
            return _Instant(jobs, self._running)
        return _Timed(self, jobs, [self._first_token(job) for job in jobs], self._running)

    def slow_down(self, factor: float) -> None:
        """Make every delay `factor` times as long; 1 is the profile's.

        From the next request on; a stream under way from the gap behind its next token on.
        """
        steady = self._steady_draw
        self._draw = steady if factor == 1 else lambda mean: factor * steady(mean)

    def stop(self, reason: type[EngineHaltedError]) -> None:
        """Let every generation there is raise `reason`: at once, or when it is next asked for a token."""
        running, self._running = self._running, _Running()
        running.stop(reason)

    def gap(self) -> float:
        """Draw the time from one token to the next, in seconds."""
        return self._draw(self._itl)

    def span(self, gaps: int) -> float:
        """Draw the time that so many gaps take together, in seconds."""
        gap = self.gap
        return sum([gap() for _ in range(gaps)]) if self._varies else gaps * gap()

    def _first_token(self, job: Job) -> float:
        return self._draw(self._ttft + self._prefill_per_token * job.prompt_tokens)


class _Instant:
    """All tokens at once, in the order in which a step would make them: one of each sequence, then the next of each."""

    __slots__ = ("_due", "_jobs", "_running")

    def __init__(self, jobs: Sequence[Job], running: _Running) -> None:
        self._jobs, self._running = jobs, running
        self._due: Sequence[int] | None = None

    def __aiter__(self) -> _Instant:
        return self

    async def __anext__(self) -> Sequence[int]:
        if self._due is None:
            self._due = _round_robin(self._jobs)
        elif self._due:
            await asyncio.sleep(0)
            if self._running.stopped is not None:
                raise self._running.stopped
        if not self._due:
            raise StopAsyncIteration
        batch, self._due = self._due[:_SLICE], self._due[_SLICE:]
        return batch

    async def finish(self) -> None:
        self._due = ()


def _round_robin(jobs: Sequence[Job]) -> list[int]:
    if len(jobs) == 1:
        return [0] * jobs[0].output_tokens
    longest = max(job.output_tokens for job in jobs)
    return [index for token in range(longest) for index, job in enumerate(jobs) if token < job.output_tokens]


class _Timed:
    """A heap of (time of the next token, job, tokens left), on the loop's clock."""

    __slots__ = ("_engine", "_loop", "_next", "_running")

    def __init__(self, engine: LatencyEngine, jobs: Sequence[Job], first: Sequence[float], running: _Running) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine, self._running = engine, running
        start = self._loop.time()
        self._next = [(start + first[index], index, job.output_tokens) for index, job in enumerate(jobs)]
        heapq.heapify(self._next)

    def __aiter__(self) -> _Timed:
        return self

    async def __anext__(self) -> Sequence[int]:
        if not self._next:
            raise StopAsyncIteration
        due = self._next[0][0]
        await _sleep_until(self._loop, due, self._running)
        return self._take(max(due, self._loop.time()))

    def _take(self, now: float) -> list[int]:
        batch: list[int] = []
        upcoming = self._next
        while upcoming and upcoming[0][0] <= now and len(batch) < _SLICE:
            when, index, left = upcoming[0]
            batch.append(index)
            if left > 1:
                heapq.heapreplace(upcoming, (when + self._engine.gap(), index, left - 1))
            else:
                heapq.heappop(upcoming)
        return batch

    async def finish(self) -> None:
        remaining, self._next = self._next, []
        span = self._engine.span
        ends = [when + span(left - 1) for when, _, left in remaining]
        if not ends:
            return
        try:
            await _sleep_until(self._loop, max(ends), self._running)
        except AbortedError as aborted:
            now = self._loop.time()
            for (first, index, left), end in zip(remaining, ends, strict=True):
                aborted.said[index] = _said(now, first, end, left)
            raise


def _said(now: float, first: float, end: float, tokens: int) -> int:
    """Return how many of `tokens`, the first at `first` and the last at `end`, have appeared: spread evenly."""
    if now < first:
        return 0
    if now >= end:
        return tokens
    return 1 + int((tokens - 1) * (now - first) / (end - first))


async def _sleep_until(loop: asyncio.AbstractEventLoop, when: float, running: _Running) -> None:
    if running.stopped is not None:
        raise running.stopped
    if when <= loop.time():
        # Late already, or a slice of a longer burst: let the others have their turn.
        await asyncio.sleep(0)
        return
    woken = loop.create_future()
    timer = loop.call_at(when, _wake, woken)
    running.waiting[woken] = None
    try:
        stopped = await woken
    except BaseException:
        timer.cancel()
        raise
    finally:
        del running.waiting[woken]
    if stopped is not None:
        timer.cancel()
        raise stopped


def _wake(woken: asyncio.Future[type[EngineHaltedError] | None]) -> None:
    if not woken.done():
        woken.set_result(None)
