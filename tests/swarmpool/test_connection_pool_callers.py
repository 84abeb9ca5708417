"""The gap between an answer and the caller's next step, timeouts, and checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pool_ledger import PoolLedger
from virtual_time import VirtualTimeLoop, run
from wire_pool import pool_of, turns, waiting
from wires import Peer, Wire

from swarmpool import AcquireTimeout, ConnectionPool, PoolClosed, TooManyWaiting


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


def test_what_has_expired_is_not_handed_out_even_before_its_timer_has_come() -> None:
    """A busy loop is late with its timers."""

    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_idle=60.0) as pool:
            pool.put(await pool.get())
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            loop.now += 61.0
            assert await pool.get() is not peer.wires[0]
            assert pool.statistics().expired == 1

    run(scene)


def test_a_pool_is_closed_when_its_served_callers_have_been_told() -> None:
    """Without a `close_cb` its connections close at once, before those callers have run."""

    async def scene() -> None:
        ledger, peer = PoolLedger(), Peer()
        pool = ConnectionPool[Wire](connect_cb=peer.connect, max_size=1, on_event=ledger)
        ledger.watch(pool)
        wire = await pool.get()
        [caller] = await waiting(pool, 1)

        async def close() -> None:
            pool.put(wire)
            await pool.aclose(drain=None)
            assert pool.statistics().checking == 0

        await asyncio.gather(close(), asyncio.wait([caller]))
        assert isinstance(caller.exception(), PoolClosed)
        ledger.check()

    run(scene)


def test_a_caller_cancelled_in_the_tick_of_its_timeout_is_cancelled() -> None:
    async def scene() -> None:
        async with pool_of(Peer(dial_seconds=60.0)) as pool:
            loop = asyncio.get_running_loop()
            caller = loop.create_task(pool.get(timeout=1.0))
            loop.call_at(loop.time() + 1.0, caller.cancel)
            await asyncio.wait([caller])
            assert caller.cancelled()
            assert (pool.statistics().cancelled, pool.statistics().timed_out) == (1, 0)

    run(scene)


@pytest.mark.parametrize(("max_dialing", "most"), [(1, 6), (3, 8)])
def test_a_burst_of_short_uses_waits_for_what_comes_back_instead_of_opening_one_each(
    max_dialing: int, most: int
) -> None:
    """Fifty uses of 2 ms are over long before the first of fifty dials of 150 ms."""

    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, prewarmed=5, max_dialing=max_dialing) as pool:
            await pool.prewarm(5)
            peer.dial_seconds = 0.15

            async def use() -> None:
                async with pool.connection():
                    await asyncio.sleep(0.002)

            await asyncio.gather(*(use() for _ in range(50)))
            assert asyncio.get_running_loop().time() < 1_000.0 + 0.15
            await asyncio.sleep(1)
            assert peer.opened <= most

    run(scene)
