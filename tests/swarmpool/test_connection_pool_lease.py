from __future__ import annotations

import asyncio

import pytest
from wires import Peer, Wire

from swarmpool import ConnectionPool, LeaseEnded, MisuseError


def pool_of(peer: Peer) -> ConnectionPool[Wire]:
    return ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close)


async def test_a_block_that_ends_well_releases() -> None:
    peer = Peer()
    async with pool_of(peer) as pool:
        async with await pool.acquire() as lease:
            assert repr(lease) == "<Lease of connection 1, new>"
        assert lease.ended
        async with pool.connection() as wire:
            assert wire is lease.connection


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit])
async def test_a_block_that_raises_discards(error: type[BaseException]) -> None:
    peer = Peer()
    async with pool_of(peer) as pool:
        with pytest.raises(error):
            async with await pool.acquire():
                raise error
        with pytest.raises(error):
            async with pool.connection():
                raise error
        assert pool.statistics().discarded == peer.opened == 2


async def test_a_lease_that_was_ended_inside_its_block_is_left_alone() -> None:
    async with pool_of(Peer()) as pool:
        async with await pool.acquire() as lease:
            lease.discard()
        assert (pool.statistics().discarded, repr(lease)) == (1, "<Lease of connection 1, new, ended>")


@pytest.mark.parametrize("method", ["put", "remove"])
async def test_only_its_lease_can_end_the_use_of_a_leased_connection(method: str) -> None:
    async with pool_of(Peer()) as pool:
        lease = await pool.acquire()
        with pytest.raises(MisuseError, match="connection 1 is held by a lease: release or discard the lease"):
            getattr(pool, method)(lease.connection)
        assert pool.statistics().leased == 1
        lease.release()


async def test_after_the_pool_was_closed_under_it_a_release_does_nothing_once() -> None:
    async with pool_of(Peer()) as pool:
        lease = await pool.acquire()
        await pool.aclose(drain=None)
        lease.release()
        with pytest.raises(LeaseEnded):
            lease.release()


@pytest.mark.parametrize("method", ["put", "remove"])
async def test_a_borrowed_connection_that_its_block_gave_back_is_left_to_its_next_owner(method: str) -> None:
    """At the end of the block it is somebody else's."""
    peer = Peer()
    async with pool_of(peer) as pool:
        async with pool.connection() as wire:
            getattr(pool, method)(wire)
            other = await pool.acquire()
        assert pool.statistics().leased == 1
        assert await pool.get() is not other.connection
        await pool.aclose(drain=None)


async def test_a_borrowing_is_entered_once() -> None:
    async with pool_of(Peer()) as pool:
        borrowing = pool.connection()
        async with borrowing:
            with pytest.raises(LeaseEnded, match="can be entered once"):
                await borrowing.__aenter__()
