"""What a `ConnectionPool` promises of connections of any kind: one suite, run by a subclass for each kind.

A kind says how to make a pool of its connections, how to talk on one, and what the peer at the other end has open.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, Self, TypeVar

import pytest
from pool_ledger import PoolLedger
from raw_agent import eventually

from swarmpool import AcquireTimeout, ConnectionPool, PoolClosed

__all__ = ["Kind", "PoolSuite"]

T = TypeVar("T")


class Kind(ABC, Generic[T]):
    """One kind of connection, with a peer that is there inside `async with`."""

    def __init__(self, *, closes_idle: bool = False) -> None:
        self.closes_idle = closes_idle
        """Whether the peer soon ends the connections it accepts from now on, if nothing happens on them."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *error: object) -> None: ...

    @abstractmethod
    def pool(self, **options: Any) -> ConnectionPool[T]:
        """A pool of connections to the peer that does not hand out what the peer has closed."""

    @abstractmethod
    async def talk(self, connection: T, text: str) -> str:
        """Send `text` and return what comes back, which is the same."""

    @abstractmethod
    def opened(self) -> int:
        """Connections the peer has accepted."""

    @abstractmethod
    def open_now(self) -> int:
        """Those it has not seen the end of."""


@asynccontextmanager
async def watched(kind: Kind[Any], **options: Any) -> AsyncIterator[ConnectionPool[Any]]:
    """A pool of that kind under the ledger's eyes; when it is closed the peer has nothing open."""
    ledger = PoolLedger()
    ledger.prewarmed = options.pop("prewarmed", 0)
    pool = kind.pool(on_event=ledger, **options)
    ledger.watch(pool)
    async with pool:
        yield pool
    ledger.check()
    now = pool.statistics()
    assert (now.open, now.opened) == (0, now.closed)
    await eventually(lambda: kind.open_now() == 0, "the peer never saw the end of all connections")
    assert kind.opened() == now.opened


class PoolSuite:
    """Subclass it as `Test...` with `kind`."""

    kind: type[Kind[Any]]

    async def test_one_after_the_other_use_one_connection(self) -> None:
        async with self.kind() as kind, watched(kind) as pool:
            for number in range(20):
                async with pool.connection(timeout=30) as connection:
                    assert await kind.talk(connection, f"turn {number}") == f"turn {number}"
            assert (kind.opened(), pool.statistics().reused) == (1, 19)

    async def test_many_at_once_share_few_and_nobody_gets_the_reply_of_another(self) -> None:
        async with self.kind() as kind, watched(kind, max_size=3) as pool:

            async def user(name: int) -> None:
                for turn in range(3):
                    async with pool.connection(timeout=60) as connection:
                        assert await kind.talk(connection, f"{name} {turn}") == f"{name} {turn}"

            await asyncio.gather(*(user(name) for name in range(15)))
            assert kind.opened() == pool.statistics().peak_open == 3

    async def test_a_connection_ends_at_its_age_without_traffic_and_a_new_one_takes_its_place(self) -> None:
        async with self.kind() as kind, watched(kind, max_session_duration=0.05) as pool:
            for times in (1, 2):
                async with pool.connection(timeout=30) as connection:
                    await kind.talk(connection, "hello")
                await eventually(partial(_ended, kind, times))
            assert pool.statistics().expired == 2

    async def test_what_the_peer_closed_while_it_was_idle_is_not_handed_out(self) -> None:
        async with self.kind(closes_idle=True) as kind, watched(kind, prewarmed=1) as pool:
            await pool.prewarm()
            await eventually(lambda: (kind.opened(), kind.open_now()) == (1, 0))
            kind.closes_idle = False
            async with pool.connection(timeout=30) as connection:
                assert await kind.talk(connection, "hello") == "hello"
            assert kind.opened() == 2

    async def test_invalidate_spares_who_is_talking(self) -> None:
        async with self.kind() as kind, watched(kind) as pool:
            used, idle = await pool.acquire(30), await pool.acquire(30)
            idle.release()
            pool.invalidate()
            assert await kind.talk(used.connection, "still here") == "still here"
            await eventually(lambda: kind.open_now() == 1)
            used.release()
            await eventually(lambda: kind.open_now() == 0)
            assert pool.statistics().invalidated == 2

    async def test_prewarm_opens_exactly_what_is_missing(self) -> None:
        async with self.kind() as kind, watched(kind, prewarmed=4) as pool:
            await pool.prewarm(2)
            await asyncio.gather(*(_awaited(pool, 4) for _ in range(3)))
            assert (kind.opened(), pool.statistics().idle) == (4, 4)

    async def test_an_exchange_that_was_cut_is_never_continued_by_another(self) -> None:
        async with self.kind() as kind, watched(kind, max_size=1) as pool:
            inside = asyncio.Event()

            async def cut_off() -> None:
                async with pool.connection(timeout=30) as connection:
                    await kind.talk(connection, "begun")
                    inside.set()
                    await asyncio.get_running_loop().create_future()

            task = asyncio.create_task(cut_off())
            await inside.wait()
            task.cancel()
            async with pool.connection(timeout=30) as connection:
                assert await kind.talk(connection, "mine") == "mine"
            assert task.cancelled()
            assert (kind.opened(), pool.statistics().discarded) == (2, 1)

    async def test_who_waits_too_long_is_told_and_loses_nothing(self) -> None:
        async with self.kind() as kind, watched(kind, max_size=1) as pool:
            lease = await pool.acquire(30)
            with pytest.raises(AcquireTimeout):
                await pool.acquire(timeout=0.01)
            lease.release()
            async with pool.connection(timeout=30) as connection:
                assert await kind.talk(connection, "hello") == "hello"
            assert kind.opened() == 1

    async def test_aclose_waits_for_who_is_talking_and_leaves_nothing(self) -> None:
        async with self.kind() as kind, watched(kind) as pool:
            used, idle = await pool.acquire(30), await pool.acquire(30)
            idle.release()
            closing = asyncio.create_task(pool.aclose(drain=60))
            await eventually(lambda: kind.open_now() == 1)
            assert await kind.talk(used.connection, "last words") == "last words"
            used.release()
            await closing
            with pytest.raises(PoolClosed):
                await pool.acquire()


def _ended(kind: Kind[Any], times: int) -> bool:
    return (kind.opened(), kind.open_now()) == (times, 0)


async def _awaited(pool: ConnectionPool[Any], number: int) -> None:
    await pool.prewarm(number)
