from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from virtual_time import VirtualTimeLoop, run

from swarmpool.errors import PoolClosed, QueueTimeout, TooManyWaiting
from swarmpool.limiter import Limiter, LimiterStatistics


async def turns(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def waiting(limiter: Limiter, callers: int, agent: str | None = None) -> list[asyncio.Task[float]]:
    """That many tasks in line, in order."""
    tasks = [asyncio.create_task(limiter.acquire(agent)) for _ in range(callers)]
    await turns()
    return tasks


def ended(now: LimiterStatistics) -> int:
    return now.immediate + now.waited + now.timed_out + now.cancelled + now.rejected + now.closed_out


async def test_a_free_slot_is_taken_without_waiting() -> None:
    limiter = Limiter(capacity=2)
    assert await limiter.acquire() == 0.0
    now = limiter.statistics()
    assert (now.attempts, now.immediate, now.in_flight, now.capacity) == (1, 1, 1, 2)


def test_acquire_returns_the_seconds_waited() -> None:
    async def scene() -> float:
        limiter = Limiter(capacity=1)
        await limiter.acquire()
        [task] = await waiting(limiter, 1)
        await asyncio.sleep(2.5)
        limiter.release()
        return await task

    assert run(scene) == pytest.approx(2.5)


async def test_slots_are_handed_out_in_order_of_arrival() -> None:
    limiter, order = Limiter(capacity=1), list[int]()
    await limiter.acquire()

    async def caller(number: int) -> None:
        await limiter.acquire()
        order.append(number)
        limiter.release()

    tasks = [asyncio.create_task(caller(number)) for number in range(20)]
    await turns()
    limiter.release()
    await asyncio.gather(*tasks)
    assert order == list(range(20))


async def test_a_slot_belongs_to_the_woken_waiter_before_it_has_run() -> None:
    """Whoever asks between the release and the waiter's next step must not get in between."""
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    [task] = await waiting(limiter, 1)
    limiter.release()
    assert not limiter.acquire_nowait()
    assert await task >= 0.0


async def test_nowait_takes_a_slot_or_says_no() -> None:
    limiter = Limiter(capacity=1)
    assert [limiter.acquire_nowait(), limiter.acquire_nowait()] == [True, False]
    assert limiter.statistics().attempts == 1


async def test_an_agent_at_its_cap_waits_while_others_pass() -> None:
    limiter = Limiter(capacity=3, capacity_per_agent=1)
    await limiter.acquire("slow")
    [slow] = await waiting(limiter, 1, "slow")
    assert await limiter.acquire("fast") == 0.0
    assert not slow.done()
    limiter.release("slow")
    await slow


async def test_a_woken_waiter_cancelled_in_the_same_tick_strands_nobody() -> None:
    """aiohttp's connector loses the wake-up here: its next waiter sleeps beside a free slot."""
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    first, second = await waiting(limiter, 2)
    limiter.release()
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert second.done()
    now = limiter.statistics()
    assert (now.in_flight, now.waiting, now.waited, now.handed_back) == (1, 0, 2, 1)


async def test_a_waiter_cancelled_before_the_release_in_the_same_tick_is_passed_over() -> None:
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    first, second = await waiting(limiter, 2)
    first.cancel()
    limiter.release()
    await asyncio.wait([first, second])
    now = limiter.statistics()
    assert (now.in_flight, now.waited, now.cancelled, now.handed_back) == (1, 1, 1, 0)


@pytest.mark.parametrize("behind", [0, 1])
async def test_no_slot_is_lost_whenever_the_caller_is_cancelled(behind: int) -> None:
    limiter = Limiter(capacity=1)

    async def victim() -> None:
        async with limiter:
            await turns()

    async def release_later() -> None:
        await turns()
        limiter.release()

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        await limiter.acquire()
        others = [asyncio.create_task(release_later())]

        async def call_others_and_be_the_first() -> None:
            others.extend(asyncio.create_task(victim()) for _ in range(behind))
            await victim()

        yield call_others_and_be_the_first()
        await asyncio.gather(*others)
        assert (limiter.in_flight, limiter.waiting) == (0, 0)

    assert await cancel_at_every_step(scene) > 3


async def test_a_waiting_coroutine_that_is_closed_leaves_the_queue() -> None:
    """What no task runs any more (GeneratorExit) must not be handed a slot."""
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    forgotten = limiter.acquire()
    forgotten.send(None)
    assert limiter.waiting == 1
    forgotten.close()
    assert limiter.waiting == 0
    [task] = await waiting(limiter, 1)
    limiter.release()
    await task
    assert limiter.statistics().cancelled == 1


# ------------------------------------------------------------------------------------------------ time limits


def test_waiting_ends_after_the_queue_timeout_with_the_numbers_in_the_message() -> None:
    async def scene() -> None:
        limiter = Limiter(capacity=2, queue_timeout=0.25)
        await limiter.acquire()
        await limiter.acquire()
        began = asyncio.get_running_loop().time()
        with pytest.raises(
            QueueTimeout, match=r"^no slot within queue_timeout=0\.25 s; 2 of 2 slots in use, 0 waiting$"
        ):
            await limiter.acquire()
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.25)
        assert (limiter.statistics().timed_out, limiter.in_flight) == (1, 2)

    run(scene)


def test_the_message_names_the_agent_and_its_cap() -> None:
    async def scene() -> None:
        limiter = Limiter(capacity=9, capacity_per_agent=1, queue_timeout=1)
        await limiter.acquire("http://a:1")
        with pytest.raises(
            QueueTimeout, match=r"; 1 of 9 slots in use, 0 waiting, 1 of 1 in use for http://a:1$"
        ) as caught:
            await limiter.acquire("http://a:1")
        assert isinstance(caught.value, TimeoutError)

    run(scene)


def test_waiters_time_out_in_order_of_arrival_each_at_its_own_time() -> None:
    async def scene() -> list[tuple[int, float]]:
        limiter, loop = Limiter(capacity=1, queue_timeout=10), asyncio.get_running_loop()
        began, gone = loop.time(), list[tuple[int, float]]()
        await limiter.acquire()

        async def caller(number: int) -> None:
            with pytest.raises(QueueTimeout):
                await limiter.acquire()
            gone.append((number, round(loop.time() - began, 3)))

        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(caller(number)))
            await asyncio.sleep(number)
        await asyncio.gather(*tasks)
        return gone

    assert run(scene) == [(0, 10.0), (1, 10.0), (2, 11.0), (3, 13.0)]


def test_one_timer_serves_all_waiters_and_is_gone_after_close() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        limiter = Limiter(capacity=1, queue_timeout=10)
        await limiter.acquire()
        assert loop.armed_timers() == 0
        tasks = await waiting(limiter, 50)
        assert loop.armed_timers() == 1
        limiter.close()
        assert loop.armed_timers() == 0
        assert {type(task.exception()) for task in (await asyncio.wait(tasks))[0]} == {PoolClosed}

    run(scene)


def test_who_was_served_is_not_timed_out_later() -> None:
    async def scene() -> None:
        limiter = Limiter(capacity=1, queue_timeout=10)
        await limiter.acquire()
        first, second = await waiting(limiter, 2)
        await asyncio.sleep(9)
        limiter.release()
        await first
        with pytest.raises(QueueTimeout):
            await second
        now = limiter.statistics()
        assert (now.waited, now.timed_out) == (1, 1)

    run(scene)


def test_a_waiter_cancelled_in_the_tick_of_its_deadline_counts_once() -> None:
    async def scene() -> None:
        limiter, loop = Limiter(capacity=1, queue_timeout=5), asyncio.get_running_loop()
        await limiter.acquire()
        [task] = await waiting(limiter, 1)
        loop.call_at(loop.time() + 5, task.cancel)
        await asyncio.wait([task])
        now = limiter.statistics()
        assert task.cancelled()
        assert now.timed_out + now.cancelled == 1
        assert now.attempts == ended(now) == 2

    run(scene)


@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_waiters_with_random_patience_keep_their_order(seed: int) -> None:
    chance = random.Random(seed)

    async def scene() -> tuple[list[int], int, LimiterStatistics]:
        limiter, served, gave_up = Limiter(capacity=3), list[int](), 0

        async def caller(number: int, patience: float, work: float) -> None:
            nonlocal gave_up
            try:
                async with asyncio.timeout(patience):
                    await limiter.acquire()
            except TimeoutError:
                gave_up += 1
                return
            served.append(number)
            await asyncio.sleep(work)
            limiter.release()

        tasks = []
        for number in range(300):
            tasks.append(asyncio.create_task(caller(number, chance.uniform(0, 2), chance.uniform(0, 0.02))))
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
        await asyncio.gather(*tasks)
        return served, gave_up, limiter.statistics()

    served, gave_up, now = run(scene)
    assert served == sorted(served)
    assert len(served) + gave_up == 300
    assert gave_up > 10
    assert (now.in_flight, now.waiting, now.attempts) == (0, 0, 300)


# ------------------------------------------------------------------------------------------------ bounds and close


async def test_callers_beyond_max_waiting_are_refused_at_once() -> None:
    limiter = Limiter(capacity=1, max_waiting=2)
    await limiter.acquire()
    tasks = await waiting(limiter, 2)
    message = r"^max_waiting=2 callers wait already; 1 of 1 slots in use, 2 waiting$"
    with pytest.raises(TooManyWaiting, match=message):
        await limiter.acquire()
    limiter.release()
    await tasks[0]
    tasks += await waiting(limiter, 1)
    assert (limiter.waiting, limiter.statistics().rejected) == (2, 1)
    limiter.close()
    await asyncio.wait(tasks)
    assert [type(task.exception()) for task in tasks] == [type(None), PoolClosed, PoolClosed]


async def test_max_waiting_zero_means_never_wait() -> None:
    limiter = Limiter(capacity=1, max_waiting=0)
    assert await limiter.acquire() == 0.0
    with pytest.raises(TooManyWaiting):
        await limiter.acquire()


async def test_close_fails_those_who_wait_at_once_and_cancels_nobody() -> None:
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    told: list[tuple[str, int]] = []

    async def caller() -> None:
        try:
            await limiter.acquire()
        except PoolClosed as error:
            task = asyncio.current_task()
            assert task is not None
            told.append((str(error), task.cancelling()))

    tasks = [asyncio.create_task(caller()) for _ in range(3)]
    await turns()
    limiter.close()
    assert limiter.waiting == 0
    await asyncio.gather(*tasks)
    assert told == [("the pool was closed while this request waited", 0)] * 3
    assert limiter.statistics().closed_out == 3


async def test_a_closed_limiter_refuses_newcomers_and_takes_slots_back() -> None:
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    limiter.close()
    limiter.close()
    with pytest.raises(PoolClosed, match=r"^the pool is closed$"):
        await limiter.acquire()
    with pytest.raises(PoolClosed):
        limiter.acquire_nowait()
    limiter.release()
    now = limiter.statistics()
    assert (now.in_flight, now.attempts) == (0, 1)


async def test_a_waiter_cancelled_and_closed_out_in_one_tick_counts_as_cancelled() -> None:
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    [task] = await waiting(limiter, 1)
    task.cancel()
    limiter.close()
    await asyncio.wait([task])
    now = limiter.statistics()
    assert (task.cancelled(), now.cancelled, now.closed_out) == (True, 1, 0)


async def test_a_waiter_served_and_then_cancelled_as_it_closes_gives_its_slot_back() -> None:
    limiter = Limiter(capacity=1)
    await limiter.acquire()
    [task] = await waiting(limiter, 1)
    limiter.release()
    limiter.close()
    task.cancel()
    await asyncio.wait([task])
    assert (limiter.in_flight, limiter.statistics().handed_back) == (0, 1)


async def test_it_works_as_an_asynchronous_context_and_says_when_it_is_locked() -> None:
    limiter = Limiter(capacity=1)
    async with limiter:
        assert limiter.locked()
    assert not limiter.locked()
    with pytest.raises(ZeroDivisionError):
        async with limiter:
            _ = 1 / 0
    assert limiter.in_flight == 0


async def test_the_repr_is_a_debug_view() -> None:
    limiter = Limiter(capacity=2)
    await limiter.acquire()
    assert repr(limiter) == "<Limiter 1 of 2 in flight, 0 waiting>"


async def test_the_peak_stays_when_the_load_has_gone() -> None:
    limiter = Limiter(capacity=5)
    for _ in range(3):
        await limiter.acquire()
    for _ in range(3):
        limiter.release()
    now = limiter.statistics()
    assert (now.in_flight, now.peak_in_flight) == (0, 3)


# ------------------------------------------------------------------------------------------------ kept sockets


async def keeping(limiter: Limiter, callers: int) -> list[asyncio.Task[None]]:
    """Callers that wait to keep a socket, in order."""
    tasks = [asyncio.get_running_loop().create_task(limiter.keep()) for _ in range(callers)]
    await turns()
    return tasks


async def test_a_kept_socket_is_in_no_count_but_its_own() -> None:
    limiter = Limiter(capacity=2, sockets=3)
    assert limiter.keep_nowait()
    await limiter.keep()
    now = limiter.statistics()
    assert (now.kept, now.capacity, now.in_flight, now.attempts) == (2, 1, 0, 0)
    limiter.give_up()
    limiter.give_up()
    assert (limiter.kept, limiter.capacity) == (0, 2)


async def test_who_waits_to_keep_a_socket_gets_it_in_his_turn() -> None:
    limiter = Limiter(capacity=2)
    assert [limiter.acquire_nowait(), limiter.acquire_nowait()] == [True, True]
    [keeper] = await keeping(limiter, 1)
    [request] = await waiting(limiter, 1)
    limiter.release()
    await turns()
    assert (keeper.done(), request.done(), limiter.capacity) == (True, False, 1)
    limiter.release()
    await turns()
    assert request.done()
    limiter.release()
    limiter.give_up()


@pytest.mark.parametrize("served_first", [True, False])
async def test_no_socket_is_lost_when_its_keeper_is_cancelled(served_first: bool) -> None:
    limiter = Limiter(capacity=2)
    limiter.keep_nowait()
    [keeper] = await keeping(limiter, 1)
    if served_first:
        limiter.give_up()
    keeper.cancel()
    await turns()
    if not served_first:
        limiter.give_up()
    assert keeper.cancelled()
    assert (limiter.kept, limiter.statistics().handed_back, limiter.keep_nowait()) == (0, 0, True)
    limiter.give_up()


async def test_close_fails_those_who_wait_to_keep_a_socket() -> None:
    limiter = Limiter(capacity=2)
    limiter.keep_nowait()
    [keeper] = await keeping(limiter, 1)
    limiter.close()
    with pytest.raises(PoolClosed):
        await keeper
    with pytest.raises(PoolClosed):
        limiter.keep_nowait()
    limiter.give_up()
    assert (limiter.kept, limiter.statistics().closed_out) == (0, 0)


async def test_a_single_socket_is_for_requests_alone() -> None:
    with pytest.raises(TooManyWaiting, match="connector_limit=1 leaves no socket"):
        await Limiter(capacity=1).keep()


async def test_room_is_asked_for_when_a_kept_socket_is_what_somebody_waits_for() -> None:
    """And not when the limit on requests is."""
    asked: list[int] = []
    limiter = Limiter(capacity=2, sockets=3, make_room=lambda: asked.append(limiter.wanted))
    assert [limiter.acquire_nowait(), limiter.acquire_nowait()] == [True, True]
    [busy] = await waiting(limiter, 1)
    assert asked == []
    busy.cancel()
    limiter.keep_nowait()
    [keeper] = await keeping(limiter, 1)
    assert asked == [1]
    keeper.cancel()
    await turns()
