from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from swarmpool.fanout import Turns, as_finished, in_order


class Boom(Exception):
    """What a job of ours raises."""


class Jobs:
    """Jobs that take a few turns of the loop, and note how many run at once and which have begun."""

    def __init__(self, lanes: int = 1, turns: Callable[[int], int] = lambda _: 1) -> None:
        self.lanes = lanes
        self.turns = turns
        self.running: Counter[int] = Counter()
        self.peak = self.peak_in_a_lane = 0
        self.begun: list[int] = []
        self.cancelled: list[int] = []

    async def do(self, index: int, prompt: str) -> str:
        lane = index % self.lanes
        self.running[lane] += 1
        self.begun.append(index)
        self.peak = max(self.peak, self.running.total())
        self.peak_in_a_lane = max(self.peak_in_a_lane, self.running[lane])
        try:
            for _ in range(self.turns(index)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        finally:
            self.running[lane] -= 1
        return prompt.upper()


def prompts(number: int) -> list[str]:
    return [f"p{index}" for index in range(number)]


def answers(number: int) -> list[str]:
    return [prompt.upper() for prompt in prompts(number)]


def only_this_task() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


# ------------------------------------------------------------------------------------------------ turns


def test_without_a_cap_turns_come_in_plain_order() -> None:
    turns = Turns(prompts(4), 3, None)
    assert [turns.take() for _ in range(5)] == [(0, "p0"), (1, "p1"), (2, "p2"), (3, "p3"), None]


def test_prompts_of_unknown_number_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10**9):
            taken.append(number)
            yield number

    turns = Turns(source(), 2, 1)
    assert [turns.take(), turns.take(), turns.take()] == [(0, 0), (1, 1), (2, 2)]
    assert taken == [0, 1, 2]


def test_a_lane_at_its_cap_is_passed_over_until_one_of_its_jobs_is_done() -> None:
    turns = Turns(prompts(6), 2, 1)
    assert [turns.take(), turns.take(), turns.take()] == [(0, "p0"), (1, "p1"), None]
    turns.done(1)
    assert [turns.take(), turns.take()] == [(3, "p3"), None]
    turns.done(3)
    turns.done(0)
    assert [turns.take(), turns.take()] == [(5, "p5"), (2, "p2")]


def test_with_room_everywhere_a_cap_changes_nothing_about_the_order() -> None:
    turns = Turns(prompts(9), 4, 3)
    assert [job[0] for job in iter(turns.take, None)] == list(range(9))


@given(
    number=st.integers(0, 60), lanes=st.integers(1, 8), cap=st.none() | st.integers(1, 4), seed=st.integers(0, 2**32)
)
def test_each_prompt_is_handed_out_once_and_no_lane_ever_has_more_than_its_cap(
    number: int, lanes: int, cap: int | None, seed: int
) -> None:
    turns, chance = Turns(prompts(number), lanes, cap), random.Random(seed)
    under_way: list[int] = []
    handed_out: list[int] = []
    while True:
        job = turns.take() if chance.random() < 0.7 or not under_way else None
        if job is not None:
            assert job[1] == f"p{job[0]}"
            under_way.append(job[0])
            handed_out.append(job[0])
        elif under_way:
            turns.done(under_way.pop(chance.randrange(len(under_way))))
        else:
            break
        lane_loads = Counter(index % lanes for index in under_way)
        assert cap is None or not lane_loads or max(lane_loads.values()) <= cap
    assert sorted(handed_out) == list(range(number))
    for lane in range(lanes):
        in_lane = [index for index in handed_out if index % lanes == lane]
        assert in_lane == sorted(in_lane)


@given(number=st.integers(0, 60), lanes=st.integers(1, 8), cap=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_nothing_is_withheld_while_a_lane_has_room_and_jobs(number: int, lanes: int, cap: int, seed: int) -> None:
    turns, chance = Turns(prompts(number), lanes, cap), random.Random(seed)
    under_way: list[int] = []
    left = Counter(index % lanes for index in range(number))
    while left.total() or under_way:
        job = turns.take()
        if job is not None:
            left[job[0] % lanes] -= 1
            under_way.append(job[0])
            continue
        loads = Counter(index % lanes for index in under_way)
        assert all(loads[lane] == cap for lane in range(lanes) if left[lane])
        turns.done(under_way.pop(chance.randrange(len(under_way))))


# ------------------------------------------------------------------------------------------------ in order


async def test_results_come_in_the_order_of_the_prompts() -> None:
    chance = random.Random(1)
    jobs = Jobs(turns=lambda _: chance.randrange(9))
    assert await in_order(Turns(prompts(50), 1, None), 7, jobs.do) == answers(50)


@pytest.mark.parametrize("source", [[], iter([])])
async def test_no_prompts_no_results(source: Any) -> None:
    assert await in_order(Turns(source, 3, None), 0 if source == [] else 4, Jobs().do) == []
    assert [item async for item in as_finished(Turns([], 3, 1), 0, Jobs().do)] == []


async def test_there_are_no_more_tasks_than_workers_however_many_prompts() -> None:
    jobs, most = Jobs(), 0

    async def do(index: int, prompt: str) -> str:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return await jobs.do(index, prompt)

    results = await in_order(Turns((str(number) for number in range(5_000)), 1, None), 8, do)
    assert len(results) == 5_000
    assert (jobs.peak, most) == (8, 9)


async def test_a_cap_per_lane_holds_and_slow_lanes_do_not_hold_up_the_others() -> None:
    jobs = Jobs(lanes=4, turns=lambda index: 200 if index % 4 == 0 else 1)
    assert await in_order(Turns(prompts(40), 4, 2), 8, jobs.do) == answers(40)
    assert jobs.peak_in_a_lane == 2
    slow = [index for index in jobs.begun if index % 4 == 0]
    assert jobs.begun.index(39) < jobs.begun.index(slow[2])


async def test_the_first_exception_ends_the_others_and_is_raised() -> None:
    jobs = Jobs(turns=lambda _: 1_000_000)

    async def do(index: int, prompt: str) -> str:
        if index == 2:
            await asyncio.sleep(0)
            raise Boom
        return await jobs.do(index, prompt)

    with pytest.raises(Boom):
        await in_order(Turns(prompts(9), 1, None), 4, do)
    assert sorted(jobs.cancelled) == [0, 1, 3]
    assert only_this_task()


async def test_an_error_of_the_prompts_themselves_is_raised() -> None:
    def source() -> Iterator[str]:
        yield "fine"
        raise Boom

    with pytest.raises(Boom):
        await in_order(Turns(source(), 1, None), 2, Jobs().do)
    assert only_this_task()


async def test_cancelling_it_cancels_all_that_is_under_way_and_waits_for_their_end() -> None:
    cleaned_up: list[int] = []

    async def do(index: int, prompt: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):  # an end that takes a while, and must not be cut short by a second cancellation
                await asyncio.sleep(0)
            cleaned_up.append(index)

    task = asyncio.create_task(in_order(Turns(prompts(9), 1, None), 3, do))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert cleaned_up == [0, 1, 2]
    assert only_this_task()


async def test_no_task_is_left_whenever_it_is_cancelled() -> None:
    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        jobs = Jobs(lanes=2)
        yield in_order(Turns(prompts(6), 2, 1), 2, jobs.do)
        assert only_this_task()
        assert jobs.running.total() == 0

    assert await cancel_at_every_step(scene) > 5


# ------------------------------------------------------------------------------------------------ as finished


async def test_results_come_as_they_are_finished() -> None:
    jobs = Jobs(turns=lambda index: 20 - 5 * index)
    assert [result async for result in as_finished(Turns(prompts(4), 1, None), 4, jobs.do)] == ["P3", "P2", "P1", "P0"]
    assert only_this_task()


@pytest.mark.parametrize("workers", [1, 3])
async def test_every_result_comes_exactly_once(workers: int) -> None:
    chance = random.Random(2)
    jobs = Jobs(lanes=5, turns=lambda _: chance.randrange(5))
    results = [result async for result in as_finished(Turns(prompts(60), 5, 1), workers, jobs.do)]
    assert sorted(results) == sorted(answers(60))
    assert jobs.peak == workers


async def test_a_consumer_that_falls_behind_holds_the_work_up() -> None:
    jobs, workers, taken = Jobs(), 3, 0
    async with aclosing(as_finished(Turns(iter(prompts(10_000)), 1, None), workers, jobs.do)) as results:
        async for _ in results:
            taken += 1
            for _ in range(50):
                await asyncio.sleep(0)
            assert (
                len(jobs.begun) <= taken + 2 * workers
            )  # as many finished and in line, as many in their workers' hands
            if taken == 20:
                break


async def test_leaving_early_cancels_what_is_under_way_and_leaves_no_task() -> None:
    jobs = Jobs(turns=lambda index: 1 if index == 0 else 1_000_000)
    results = as_finished(Turns(prompts(9), 1, None), 3, jobs.do)
    assert await anext(results) == "P0"
    await results.aclose()
    assert sorted(jobs.cancelled) == [1, 2, 3]
    assert only_this_task()


async def test_what_was_finished_before_an_exception_comes_first() -> None:
    async def do(index: int, prompt: str) -> str:
        if index == 3:
            raise Boom
        return prompt

    results = as_finished(Turns(prompts(9), 1, None), 1, do)
    assert [await anext(results) for _ in range(3)] == ["p0", "p1", "p2"]
    with pytest.raises(Boom):
        await anext(results)
    assert only_this_task()


async def test_an_exception_nobody_stays_for_is_not_left_unretrieved() -> None:
    async def do(index: int, prompt: str) -> str:
        if index:
            raise Boom
        return prompt

    results = as_finished(Turns(prompts(3), 1, None), 1, do)
    await anext(results)
    for _ in range(9):
        await asyncio.sleep(0)
    await results.aclose()
    assert only_this_task()


async def test_no_task_is_left_whenever_the_consumer_is_cancelled() -> None:
    async def consume(jobs: Jobs) -> None:
        async with aclosing(as_finished(Turns(prompts(5), 2, 1), 2, jobs.do)) as results:
            async for _ in results:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        jobs = Jobs(lanes=2)
        yield consume(jobs)
        assert only_this_task()
        assert jobs.running.total() == 0

    assert await cancel_at_every_step(scene) > 5


@given(
    number=st.integers(0, 25), lanes=st.integers(1, 4), cap=st.none() | st.integers(1, 3), seed=st.integers(0, 2**32)
)
def test_nobody_stalls_whatever_the_caps_and_the_speeds(number: int, lanes: int, cap: int | None, seed: int) -> None:
    """A worker that finds no job now goes for good: those that are left must do all the rest."""
    chance = random.Random(seed)
    workers = chance.randint(1, lanes * (cap or 3))

    async def scene() -> None:
        async def do(index: int, prompt: str) -> str:
            await asyncio.sleep(chance.choice([0, 0.1, 1]))
            return prompt.upper()

        assert await in_order(Turns(prompts(number), lanes, cap), workers, do) == answers(number)
        results = [result async for result in as_finished(Turns(prompts(number), lanes, cap), workers, do)]
        assert sorted(results) == sorted(answers(number))

    run(scene)
