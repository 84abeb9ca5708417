from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from swarmpool import ConnectionPool, ConnectionPoolStatistics
from swarmpool.connection_pool.statistics import Counters


def test_every_counter_is_in_the_record() -> None:
    counters = Counters()
    assert {getattr(counters, name) for name in Counters.__slots__} == {0}
    assert set(Counters.__slots__) < {field.name for field in fields(ConnectionPoolStatistics)}


async def test_the_record_is_one_moment_and_cannot_be_changed() -> None:
    async def connect() -> object:
        return object()

    async with ConnectionPool[object](connect_cb=connect, max_size=3) as pool:
        await pool.acquire()
        now = pool.statistics()
        await pool.acquire()
        assert (now.leased, now.open, now.max_size, now.attempts, now.waited) == (1, 1, 3, 1, 1)
        with pytest.raises(FrozenInstanceError):
            now.leased = 0  # type: ignore[misc]  # that is the point
        await pool.aclose(drain=None)
