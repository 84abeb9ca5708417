"""The limiter under any order of events: a state machine."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from virtual_time import VirtualTimeLoop

from swarmpool.errors import PoolClosed, QueueTimeout, TooManyWaiting
from swarmpool.limiter import Limiter, LimiterStatistics


def ended(now: LimiterStatistics) -> int:
    return now.immediate + now.waited + now.timed_out + now.cancelled + now.rejected + now.closed_out


class LimiterMachine(RuleBasedStateMachine):
    """Tasks that acquire, are cancelled, time out, are refused and closed out, in any order and in any one tick."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.attempts = 0
        self.seen: Counter[str] = Counter()
        self.lined_up: dict[int, str | None] = {}
        self.woken: list[int] = []
        self.held: list[str | None] = []
        self.callers: list[asyncio.Task[None]] = []
        self.closed = False

    @initialize(
        capacity=st.integers(1, 3),
        per_agent=st.none() | st.integers(1, 2),
        queue_timeout=st.none() | st.just(5.0),
        max_waiting=st.none() | st.integers(0, 4),
    )
    def start(self, capacity: int, per_agent: int | None, queue_timeout: float | None, max_waiting: int | None) -> None:
        self.capacity, self.per_agent = capacity, per_agent
        self.limiter = Limiter(
            capacity=capacity, capacity_per_agent=per_agent, queue_timeout=queue_timeout, max_waiting=max_waiting
        )

    async def call(self, agent: str | None) -> None:
        if self.closed:
            with pytest.raises(PoolClosed, match=r"^the pool is closed$"):
                await self.limiter.acquire(agent)
            return
        self.attempts += 1
        number = self.attempts
        if self.limiter.acquire_nowait(agent):
            self.got(agent)
            return
        try:
            self.lined_up[number] = agent
            await self.limiter.acquire(agent)
            self.woken.append(number)
            self.got(agent)
        except (QueueTimeout, TooManyWaiting, PoolClosed, asyncio.CancelledError) as end:
            self.seen[type(end).__name__] += 1
        finally:
            del self.lined_up[number]

    def got(self, agent: str | None) -> None:
        self.seen["served"] += 1
        self.held.append(agent)

    @rule(target=tasks, agent=st.sampled_from(["a", "b", None]))
    def somebody_calls(self, agent: str | None) -> asyncio.Task[None]:
        task = self.loop.create_task(self.call(agent))
        self.callers.append(task)
        return task

    @rule(task=tasks)
    def cancel(self, task: asyncio.Task[None]) -> None:
        """One that has not begun is never counted as an attempt, so let it begin."""
        self.loop.turn()
        task.cancel()

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            self.limiter.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @rule(data=st.data(), task=tasks, first=st.booleans())
    def release_and_cancel_in_one_tick(self, data: st.DataObject, task: asyncio.Task[None], first: bool) -> None:
        self.loop.turn()
        if first:
            task.cancel()
        self.release(data)
        task.cancel()

    @rule()
    def turn(self) -> None:
        self.loop.turn()

    @rule(seconds=st.sampled_from([1.0, 3.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        if chance == 0:  # seldom, or there is nothing left to see
            self.limiter.close()
            self.closed = True

    @rule()
    def settle(self) -> None:
        self.loop.turn(4)
        self.nobody_waits_who_could_be_served()
        self.everybody_was_told_once()

    def nobody_waits_who_could_be_served(self) -> None:
        assert self.limiter.in_flight == len(self.held)
        assert self.limiter.waiting == len(self.lined_up)
        for agent in self.lined_up.values():
            full = self.per_agent is not None and agent is not None and self.held.count(agent) == self.per_agent
            assert full or len(self.held) == self.capacity

    def everybody_was_told_once(self) -> None:
        now, seen = self.limiter.statistics(), self.seen
        assert seen["served"] == now.immediate + now.waited - now.handed_back
        assert seen["TooManyWaiting"] == now.rejected
        told = seen["CancelledError"] + seen["QueueTimeout"] + seen["PoolClosed"]
        assert told == now.cancelled + now.handed_back + now.timed_out + now.closed_out
        assert sum(seen.values()) + len(self.lined_up) == self.attempts

    @invariant()
    def the_counts_add_up(self) -> None:
        now = self.limiter.statistics()
        assert self.attempts == now.attempts == ended(now) + now.waiting
        assert len(self.held) <= now.in_flight <= now.peak_in_flight <= self.capacity

    @invariant()
    def no_agent_has_more_than_its_cap(self) -> None:
        if self.per_agent is not None:
            assert max(self.held.count("a"), self.held.count("b")) <= self.per_agent

    @invariant()
    def nobody_overtakes_in_the_line_of_an_agent(self) -> None:
        if self.per_agent is None:
            assert self.woken == sorted(self.woken)

    @invariant()
    def nobody_waits_once_it_is_closed(self) -> None:
        assert not (self.closed and self.limiter.waiting)

    def teardown(self) -> None:
        for task in self.callers:
            task.cancel()
        self.loop.turn(4)
        if hasattr(self, "limiter"):
            while self.held:
                self.limiter.release(self.held.pop())
            assert (self.limiter.in_flight, self.limiter.waiting) == (0, 0)
            self.limiter.close()
        self.loop.close_clean()


LimiterMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestLimiter = LimiterMachine.TestCase
