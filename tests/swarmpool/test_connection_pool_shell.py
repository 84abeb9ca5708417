"""The gaps: between an answer and the caller's next step, between a dial's end and its telling, around a close."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pool_ledger import PoolLedger
from virtual_time import run
from wires import Peer, Wire

from swarmpool import AcquireTimeout, ConnectFailed, ConnectionPool, PoolClosed, TooManyWaiting


@asynccontextmanager
async def pool_of(peer: Peer, *, prewarmed: int = 0, **options: Any) -> AsyncIterator[ConnectionPool[Wire]]:
    """A pool of wires under the ledger's eyes; at the end both ends have closed all that they opened."""
    ledger = PoolLedger()
    ledger.prewarmed = prewarmed
    pool = ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close, on_event=ledger, **options)
    ledger.watch(pool)
    try:
        yield pool
    finally:
        await pool.aclose(drain=None)
    ledger.check()
    end = pool.statistics()
    assert (end.opened, end.closed, end.open) == (peer.opened, peer.closed, 0)


async def turns(times: int = 6) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def waiting(pool: ConnectionPool[Wire], callers: int) -> list[asyncio.Task[Wire]]:
    tasks = [asyncio.create_task(pool.get()) for _ in range(callers)]
    await turns()
    return tasks


def test_a_caller_served_and_cancelled_in_one_tick_strands_nobody() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_size=1) as pool:
            wire = await pool.get()
            first, second = await waiting(pool, 2)
            pool.put(wire)
            first.cancel()
            assert await second is wire
            assert first.cancelled()
            now = pool.statistics()
            assert (now.cancelled, now.handed_back, now.waited) == (1, 1, 2)

    run(scene)


def test_a_caller_cancelled_and_then_served_in_one_tick_is_passed_over() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_size=1) as pool:
            wire = await pool.get()
            first, second = await waiting(pool, 2)
            first.cancel()
            pool.put(wire)
            assert await second is wire
            assert first.cancelled()
            assert (pool.statistics().cancelled, pool.statistics().handed_back) == (1, 0)

    run(scene)


def test_a_dial_whose_last_caller_has_left_becomes_an_idle_connection() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=1.0)
        async with pool_of(peer) as pool:
            with pytest.raises(AcquireTimeout):
                await pool.get(timeout=0.5)
            [caller] = await waiting(pool, 1)
            caller.cancel()
            await asyncio.sleep(1)
            now = pool.statistics()
            assert (now.idle, now.failed, peer.dialed) == (1, 0, 1)

    run(scene)


@pytest.mark.parametrize("end", ["invalidate", "aclose"])
def test_a_dial_is_cancelled_when_its_pool_is_invalidated_or_closed(end: str) -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=60.0)
        async with pool_of(peer, prewarmed=1) as pool:
            handle = pool.prewarm()
            await turns()
            peer.dial_seconds = 0.0
            if end == "aclose":
                await pool.aclose()
                with pytest.raises(PoolClosed):
                    await handle
            else:
                pool.invalidate()
                await handle
                assert peer.opened == 1
            assert peer.dialing == 0

    run(scene)


def test_those_who_wait_when_the_pool_is_invalidated_get_a_new_dial_at_once() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=60.0)
        async with pool_of(peer, max_size=2) as pool:
            callers = await waiting(pool, 3)
            peer.dial_seconds = 1.0
            pool.invalidate()
            first, second = await asyncio.gather(*callers[:2])
            assert asyncio.get_running_loop().time() == 1_001.0
            pool.put(second)
            assert await callers[2] is second
            pool.put(first)

    run(scene)


@pytest.mark.parametrize("event", ["invalidate", "lost"])
def test_what_happens_to_a_connection_before_its_caller_runs_is_seen(event: str) -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_size=1) as pool:
            wire = await pool.get()
            [caller] = await waiting(pool, 1)
            pool.put(wire)
            pool.invalidate() if event == "invalidate" else pool.lost(wire)
            assert await caller is peer.wires[1]
            assert wire.closed

    run(scene)


@pytest.mark.parametrize("drain", [None, 5.0])
def test_a_pool_closed_before_its_served_caller_runs_tells_the_caller(drain: float | None) -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_size=1) as pool:
            wire = await pool.get()
            [caller] = await waiting(pool, 1)

            async def close() -> None:
                pool.put(wire)
                await pool.aclose(drain=drain)

            closing = asyncio.create_task(close())
            with pytest.raises(PoolClosed):
                await caller
            await closing
            assert asyncio.get_running_loop().time() == 1_000.0
            assert pool.statistics().closed_out == 1

    run(scene)


def test_nobody_is_cancelled_by_the_close() -> None:
    """A `CancelledError` that nobody sent is what aiohttp's connector gives those who wait when it closes."""

    async def scene() -> None:
        peer = Peer(dial_seconds=1.0)
        async with pool_of(peer, max_size=1) as pool:
            tasks = [*await waiting(pool, 3), asyncio.create_task(_awaited(pool))]
            await turns()
            await pool.aclose()
            await asyncio.wait(tasks)
            assert not any(task.cancelled() or task.cancelling() for task in tasks)
            assert all(isinstance(task.exception(), PoolClosed) for task in tasks)

    async def _awaited(pool: ConnectionPool[Wire]) -> None:
        await pool.prewarm()

    run(scene)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_a_dial_that_raises_a_cancellation_of_its_own_cancels_nobody(error: BaseException) -> None:
    async def scene() -> None:
        peer = Peer()
        peer.dials.append(error)
        async with pool_of(peer, reconnect_delay=None) as pool:
            with pytest.raises(ConnectFailed, match=f"connect_cb ended with {type(error).__name__}"):
                await pool.get()
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await pool.get()

    run(scene)


def test_a_failed_dial_raises_what_the_callback_raised_and_is_the_cause_of_a_timeout_after_it() -> None:
    async def scene() -> None:
        peer = Peer()
        refused = OSError("refused")
        peer.dials.append(refused)
        async with pool_of(peer, reconnect_delay=10.0) as pool:
            with pytest.raises(OSError, match="refused") as failure:
                await pool.get()
            assert failure.value is refused
            with pytest.raises(AcquireTimeout) as late:
                await pool.get(timeout=0.1)
            assert late.value.__cause__ is refused
            await pool.get()
            assert peer.dialed == 2

    run(scene)


def test_a_timeout_of_nothing_takes_what_is_there_or_fails_in_a_turn() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=1.0)
        async with pool_of(peer) as pool:
            start = asyncio.get_running_loop().time()
            with pytest.raises(AcquireTimeout):
                await pool.get(timeout=0)
            assert asyncio.get_running_loop().time() == start
            await asyncio.sleep(1)
            assert await pool.get(timeout=0) is peer.wires[0]

    run(scene)


def test_too_many_waiting_is_said_at_once() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_size=1, max_waiting=1) as pool:
            wire = await pool.get()
            [caller] = await waiting(pool, 1)
            with pytest.raises(TooManyWaiting):
                await pool.get()
            pool.put(wire)
            await caller

    run(scene)


# ------------------------------------------------------------------------------------------------ checks


Check = Callable[[Wire], Any]


async def _yes(wire: Wire) -> bool:
    await asyncio.sleep(0.1)
    return True


async def _no(wire: Wire) -> bool:
    await asyncio.sleep(0.1)
    return False


async def _break(wire: Wire) -> bool:
    raise OSError("gone")


async def _cancel(wire: Wire) -> bool:
    raise asyncio.CancelledError


async def _hang(wire: Wire) -> bool:
    await asyncio.sleep(3600)
    return True


def _raise(wire: Wire) -> bool:
    raise OSError("gone")


@pytest.mark.parametrize(
    ("check", "good"),
    [
        pytest.param(lambda wire: True, True, id="yes"),
        pytest.param(lambda wire: False, False, id="no"),
        pytest.param(_raise, False, id="raises"),
        pytest.param(_yes, True, id="yes, later"),
        pytest.param(_no, False, id="no, later"),
        pytest.param(_break, False, id="raises later"),
        pytest.param(_cancel, False, id="raises a cancellation"),
        pytest.param(_hang, False, id="hangs"),
    ],
)
def test_what_fails_its_check_is_replaced_and_the_caller_sees_no_error(check: Check, good: bool) -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, validate_cb=check, connect_timeout=2.0) as pool:
            first = await pool.get()
            pool.put(first)
            lease = await pool.acquire()
            assert (lease.connection is first) is good is lease.reused
            await turns()
            assert (pool.statistics().invalid, first.closed) == (0 if good else 1, not good)
            lease.release()

    run(scene)


def test_a_new_connection_is_checked_only_if_it_has_been_idle() -> None:
    async def scene() -> None:
        peer, checked = Peer(), list[int]()

        def check(wire: Wire) -> bool:
            checked.append(wire.number)
            return True

        async with pool_of(peer, validate_cb=check, prewarmed=1) as pool:
            first = await pool.get()
            await pool.prewarm()
            await pool.get()
            pool.put(first)
            await pool.get()
            assert checked == [2, 1]

    run(scene)


@pytest.mark.parametrize("end", ["cancel", "timeout", "aclose"])
def test_a_caller_that_goes_while_its_connection_is_checked_leaves_nothing(end: str) -> None:
    """A connection whose check was cut is in an unknown state: it is not used again."""

    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, validate_cb=_hang, max_size=1) as pool:
            wire = await pool.get()
            pool.put(wire)
            caller = asyncio.create_task(pool.get(timeout=1.0))
            await turns()
            assert pool.statistics().checking == 1
            if end == "cancel":
                caller.cancel()
            elif end == "aclose":
                await pool.aclose()
            await asyncio.wait([caller])
            if end == "cancel":
                assert caller.cancelled()
            else:
                assert isinstance(caller.exception(), PoolClosed if end == "aclose" else AcquireTimeout)
            await turns()
            assert (pool.statistics().checking, wire.closed) == (0, True)

    run(scene)


def test_a_check_that_is_cut_before_its_first_step_is_not_complained_of() -> None:
    """Its coroutine was never awaited, and Python said so; the leak gate hears it."""

    async def scene() -> None:
        async with pool_of(Peer(), validate_cb=_yes) as pool:
            pool.put(await pool.get())
            caller = asyncio.create_task(pool.get())
            await asyncio.sleep(0)
            assert pool.statistics().checking == 1
            await pool.aclose()
            with pytest.raises(PoolClosed):
                await caller

    run(scene)


def test_a_check_may_answer_by_a_future() -> None:
    async def scene() -> None:
        answers = [False, True]

        def check(wire: Wire) -> asyncio.Future[bool]:
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            future.set_result(answers[wire.number - 1])
            return future

        peer = Peer()
        async with pool_of(peer, validate_cb=check) as pool:
            one, two = await pool.get(), await pool.get()
            pool.put(two)
            pool.put(one)
            assert await pool.get() is two
            assert one.closed

    run(scene)


# ------------------------------------------------------------------------------------------------ bad callbacks


async def _stubborn(seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


def test_a_dial_that_will_not_be_cancelled_is_abandoned_and_closed_if_it_connects_after_all() -> None:
    async def scene() -> None:
        class Stubborn(Peer):
            async def connect(self, timeout: float) -> Wire:
                await _stubborn(60.0)
                return await super().connect(timeout)

        peer = Stubborn()
        pool = ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close)
        getting = asyncio.create_task(pool.get())
        await turns()
        await pool.aclose()
        assert asyncio.get_running_loop().time() == 1_001.0
        with pytest.raises(PoolClosed):
            await getting
        assert pool.statistics().abandoned == 1
        await asyncio.sleep(60)
        assert (peer.opened, peer.closed) == (1, 1)

    run(scene)


def test_a_close_that_will_not_be_cancelled_is_abandoned() -> None:
    async def scene() -> None:
        class Stubborn(Peer):
            async def close(self, wire: Wire) -> None:
                await _stubborn(60.0)

        peer = Stubborn()
        pool = ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close, close_timeout=2.0)
        await pool.get()
        await pool.aclose(drain=None)
        now = pool.statistics()
        assert (now.closed, now.close_failed, now.abandoned) == (1, 1, 1)
        assert asyncio.get_running_loop().time() == 1_003.0
        await asyncio.sleep(60)

    run(scene)


def test_a_plain_function_can_close_and_none_is_needed() -> None:
    async def scene() -> None:
        peer, closed = Peer(), list[Wire]()
        async with ConnectionPool[Wire](connect_cb=peer.connect, close_cb=closed.append) as pool:
            pool.remove(await pool.get())
            await turns()
            assert closed == peer.wires
        async with ConnectionPool[Wire](connect_cb=peer.connect) as pool:
            pool.remove(await pool.get())
            assert pool.statistics().closed == 1

    run(scene)


# ------------------------------------------------------------------------------------------------ life


def test_concurrent_closes_all_wait_and_the_soonest_drain_counts() -> None:
    async def scene() -> None:
        peer = Peer(close_seconds=1.0)
        async with pool_of(peer) as pool:
            wire = await pool.get()
            loop = asyncio.get_running_loop()
            ends = []

            async def close(drain: float | None) -> None:
                await pool.aclose(drain=drain)
                ends.append((loop.time(), wire.closed))

            await asyncio.gather(close(60.0), close(5.0), close(20.0))
            assert ends == [(1_006.0, True)] * 3

    run(scene)


def test_a_cancelled_aclose_does_not_stop_the_closing() -> None:
    async def scene() -> None:
        peer = Peer(close_seconds=1.0)
        async with pool_of(peer) as pool:
            await pool.get()
            closing = asyncio.create_task(pool.aclose(drain=3.0))
            await turns()
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
            await asyncio.sleep(5)
            assert (pool.state.name, peer.closed) == ("CLOSED", 1)

    run(scene)


async def test_a_pool_that_was_never_used_closes_at_once_and_for_good() -> None:
    pool = ConnectionPool[Wire](connect_cb=Peer().connect)
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(PoolClosed):
        await pool.get()


def test_a_pool_dropped_with_nothing_open_is_silent_and_leaves_no_timer() -> None:
    async def scene() -> None:
        peer = Peer()
        pool = ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close, max_idle=3600.0)
        pool.put(await pool.get())
        pool.shrink()
        await turns()
        del pool
        gc.collect()
        await turns()

    run(scene)
