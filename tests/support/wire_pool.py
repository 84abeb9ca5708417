"""A pool of wires under the ledger's eyes, for tests on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pool_ledger import PoolLedger
from wires import Peer, Wire

from swarmpool import ConnectionPool

__all__ = ["pool_of", "turns", "waiting"]


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
