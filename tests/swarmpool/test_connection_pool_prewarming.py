from __future__ import annotations

import asyncio

import pytest

from swarmpool.connection_pool.prewarming import Prewarming
from swarmpool.errors import ConnectFailed, PoolClosed


def handle() -> Prewarming:
    return Prewarming(asyncio.get_running_loop())


async def test_it_can_be_awaited_often_and_by_many() -> None:
    warming = handle()
    waiting = [asyncio.ensure_future(_wait(warming)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (warming.done(), repr(warming)) == (False, "<Prewarming, dialing>")
    warming.finish(None)
    await asyncio.gather(*waiting)
    await warming
    assert (warming.done(), repr(warming)) == (True, "<Prewarming, done>")


async def _wait(warming: Prewarming) -> None:
    await warming


async def test_a_failure_is_raised_with_its_cause_and_names_no_details() -> None:
    warming = handle()
    warming.finish(OSError("wss://user:secret@host"))
    with pytest.raises(ConnectFailed, match=r"^prewarm could not connect: OSError$") as failure:
        await warming
    assert isinstance(failure.value.__cause__, OSError)
    assert repr(warming) == "<Prewarming, failed>"


async def test_a_failure_that_nobody_awaits_is_silent() -> None:
    """The leak gate hears asyncio complain of exceptions that were never retrieved."""
    handle().finish(OSError("refused"))


async def test_a_closed_pool_is_raised_as_it_is() -> None:
    warming = handle()
    warming.finish(PoolClosed("closed"))
    with pytest.raises(PoolClosed):
        await warming


async def test_cancelling_one_who_awaits_it_ends_nothing_else() -> None:
    warming = handle()
    one, other = asyncio.ensure_future(_wait(warming)), asyncio.ensure_future(_wait(warming))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    assert (one.cancelled(), warming.done()) == (True, False)
    warming.finish(None)
    await other
