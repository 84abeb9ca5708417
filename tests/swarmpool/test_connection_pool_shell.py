"""The pool's life, its dials and closes, and callbacks that misbehave."""

from __future__ import annotations

import asyncio
import gc

import pytest
from virtual_time import run
from wire_pool import pool_of, turns, waiting
from wires import Peer, Wire

from swarmpool import AcquireTimeout, ConnectFailed, ConnectionPool, PoolClosed


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


def test_prewarm_after_invalidate_waits_for_the_room_that_is_coming() -> None:
    """New settings: `invalidate`, then `prewarm`, while the old connections still close."""

    async def scene() -> None:
        peer = Peer(dial_seconds=0.1, close_seconds=1.0)
        async with pool_of(peer, max_size=3, prewarmed=3) as pool:
            await pool.prewarm(3)
            used = await pool.acquire()
            pool.invalidate()
            await pool.prewarm(3)
            now = pool.statistics()
            assert (now.idle, now.leased, now.closing, peer.opened) == (2, 1, 0, 5)
            used.release()

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
