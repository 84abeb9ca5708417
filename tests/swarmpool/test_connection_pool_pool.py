"""What users see: callbacks or a subclass, and code that was written for the model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import run
from wires import Peer, Wire

from swarmpool import ConnectionPool, PoolClosed


async def turns(times: int = 6) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class Wires(ConnectionPool[Wire]):
    """A pool by overriding."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        super().__init__(**options)
        self.peer = peer
        self.idle: list[Wire] = []

    async def connect(self, timeout: float) -> Wire:
        return await self.peer.connect(timeout)

    async def disconnect(self, connection: Wire) -> None:
        await self.peer.close(connection)

    def validate(self, connection: Wire) -> bool:
        return connection.number != 2

    def rested(self, connection: Wire) -> None:
        self.idle.append(connection)


async def test_a_subclass_may_connect_and_disconnect() -> None:
    peer = Peer()
    async with Wires(peer, connect_timeout=3.0) as pool:
        wire = await pool.get()
        pool.put(wire)
    assert (peer.timeouts, peer.closed, wire.closed) == ([3.0], 1, True)


async def test_a_subclass_may_check_what_was_idle_and_hear_of_what_is() -> None:
    peer = Peer()
    async with Wires(peer) as pool:
        one, two = await pool.get(), await pool.get()
        assert pool.idle == []
        pool.put(one)
        pool.put(two)
        assert await pool.get() is one
        assert [wire is other for wire, other in zip(pool.idle, (one, two), strict=True)] == [True, True]
        assert two.closed or pool.statistics().invalid == 1
        waiting = asyncio.create_task(pool.get())
        await turns()
        pool.put(one)
        assert await waiting in (one, peer.wires[-1])
        await pool.aclose(drain=None)


async def test_an_override_may_take_no_timeout() -> None:
    class Plain(ConnectionPool[object]):
        async def connect(self) -> object:  # type: ignore[override]  # that is the point
            return object()

    async with Plain() as pool:
        pool.put(await pool.get())


async def test_without_a_way_to_connect_it_says_so_each_time() -> None:
    pool = ConnectionPool[object]()
    for _ in range(2):
        with pytest.raises(NotImplementedError, match=r"pass connect_cb=... or override connect\(\)"):
            await pool.get()
    with pytest.raises(NotImplementedError):
        _ = pool.prewarm()
    with pytest.raises(NotImplementedError):
        await pool.connect(1.0)
    await pool.aclose()


def test_code_written_for_the_model_keeps_working() -> None:
    async def scene() -> None:
        peer = Peer()
        pool = ConnectionPool[Wire](
            max_session_duration=300.0,
            mark_refreshed_on_get=True,
            connect_cb=peer.connect,
            close_cb=peer.close,
            connect_timeout=10.0,
        )
        _ = pool.prewarm()
        await turns()
        async with pool.connection(timeout=5) as wire:
            assert wire is peer.wires[0]
            pool.remove(wire)  # as users of the model do when a reply was broken
        wire = await pool.get(timeout=5)
        pool.put(wire)
        pool.remove(wire)
        pool.put(wire)
        pool.remove(wire)
        assert await pool.get() is not wire
        pool.invalidate()
        await pool.aclose(drain=None)
        assert (peer.opened, peer.closed) == (3, 3)
        pool.invalidate()

    run(scene)


@pytest.mark.parametrize(("refreshed", "opened"), [(False, 2), (True, 1)])
def test_the_session_duration_is_age_or_the_time_since_the_last_get(refreshed: bool, opened: int) -> None:
    async def scene() -> None:
        peer = Peer()
        pool = ConnectionPool[Wire](
            connect_cb=peer.connect,
            close_cb=peer.close,
            max_session_duration=10.0,
            mark_refreshed_on_get=refreshed,
            jitter=0.0,
        )
        for _ in range(6):
            async with pool.connection():
                await asyncio.sleep(4)
        assert peer.opened == opened
        await pool.aclose()

    run(scene)


def test_a_connection_in_use_beyond_its_time_is_left_alone_and_closed_on_return() -> None:
    async def scene() -> None:
        peer = Peer()
        async with ConnectionPool[Wire](
            connect_cb=peer.connect, close_cb=peer.close, max_session_duration=10, max_age=10, max_idle=10
        ) as pool:
            wire = await pool.get()
            await asyncio.sleep(60)
            assert not wire.closed
            pool.put(wire)
            await turns()
            assert wire.closed

    run(scene)


async def test_shrink_and_lost_and_strangers() -> None:
    peer = Peer()
    async with ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close) as pool:
        wires = [await pool.get() for _ in range(3)]
        for wire in wires:
            pool.put(wire)
        assert pool.shrink(2) == 2
        stranger = Wire(peer, 99)
        for ignore in (pool.put, pool.remove, pool.lost):
            ignore(stranger)
        now = pool.statistics()
        assert (now.idle, now.evicted, now.ignored) == (1, 2, 2)
        with pytest.raises(ValueError, match="most must be at least 0"):
            pool.shrink(-1)
        with pytest.raises(ValueError, match="n must be at least 0"):
            _ = pool.prewarm(-1)


async def test_the_drain_is_checked() -> None:
    pool = ConnectionPool[Wire](connect_cb=Peer().connect)
    with pytest.raises(ValueError, match="drain must be a number of seconds of at least 0"):
        await pool.aclose(drain=-1)
    await pool.aclose()


async def test_the_block_of_a_pool_that_is_closed_is_not_entered() -> None:
    pool = ConnectionPool[Wire](connect_cb=Peer().connect)
    async with pool:
        pass
    with pytest.raises(PoolClosed):
        async with pool:
            pass


def test_a_prewarmed_connection_was_there_before_and_is_refreshed_as_one() -> None:
    """It may have died while idle, as any other: whoever tries again on what was reused must be told."""

    async def scene() -> None:
        peer = Peer()
        async with ConnectionPool[Wire](
            connect_cb=peer.connect, max_session_duration=10, mark_refreshed_on_get=True, jitter=0
        ) as pool:
            await pool.prewarm()
            await asyncio.sleep(9)
            async with await pool.acquire() as lease:
                assert lease.reused
                await asyncio.sleep(9)
            assert pool.statistics().idle == 1

    run(scene)
