"""A call of the pool is cancelled at every turn of the loop it takes; each time both ends must balance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step

from fleetsim.fleet import Fleet
from swarmpool import PoolClosed, VLLMPool

Work = Callable[[VLLMPool], Coroutine[Any, Any, object]]


def make_pool(fleet: Fleet) -> VLLMPool:
    return VLLMPool(fleet.endpoints, model="sim", max_tokens=4, model_max_context=4096, concurrency=1)


async def post(pool: VLLMPool) -> None:
    assert (await pool.post(0, "the victim")).success


async def batch(pool: VLLMPool) -> None:
    assert all(response.success for response in await pool.post_batch(0, ["one", "two"]))


async def stream(pool: VLLMPool) -> None:
    async for chunk in pool.stream(0, "the victim"):
        assert chunk.response is None or chunk.response.success


async def send_all(pool: VLLMPool) -> None:
    assert all(response.success for response in await pool.send_all(["one", "two", "three"]))


async def broadcast(pool: VLLMPool) -> None:
    assert all(response.success for response in await pool.broadcast_prompt("to all"))


async def balanced(pool: VLLMPool, fleet: Fleet) -> None:
    """No slot is lost, nobody waits, the pool works, and after its close neither end holds anything."""
    assert (await pool.post(0, "afterwards")).success
    moment = pool.statistics()
    assert (moment.admission.in_flight, moment.admission.waiting) == (0, 0)
    assert (moment.connections.acquired, moment.connections.dialing) == (0, 0)
    await pool.close()
    end = pool.statistics().connections
    assert (end.open, end.opened - end.closed) == (0, 0)
    await fleet.ledger.wait_for(open_now=0, in_flight=0)


@asynccontextmanager
async def fresh(fleet: Fleet, work: Work) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """A new pool: the victim opens the connection."""
    async with make_pool(fleet) as pool:
        yield work(pool)
        await balanced(pool, fleet)


@asynccontextmanager
async def warm(fleet: Fleet, work: Work) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """A pool with idle connections: the victim reuses them."""
    async with make_pool(fleet) as pool:
        await pool.broadcast_prompt("warm up")
        yield work(pool)
        await balanced(pool, fleet)


@asynccontextmanager
async def busy(fleet: Fleet, work: Work) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """The only slot is taken when the victim comes, and comes free while it waits; a third waits behind it."""
    async with make_pool(fleet) as pool:
        holder = asyncio.create_task(pool.post(0, "holds the slot"))
        await asyncio.sleep(0)
        later: list[asyncio.Task[Any]] = []

        async def victim() -> None:
            later.append(asyncio.create_task(pool.post(0, "comes later")))
            await work(pool)

        yield victim()
        served = await asyncio.gather(holder, *later)
        assert all(response.success for response in served)
        await balanced(pool, fleet)


@pytest.mark.parametrize("scene", [fresh, warm, busy], ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("work", [post, batch, stream, send_all, broadcast], ids=lambda work: work.__name__)
async def test_a_call_cancelled_at_any_step_loses_nothing(scene: Any, work: Work) -> None:
    async with Fleet(2, seed=1, ending="eager") as fleet:
        steps = await cancel_at_every_step(partial(scene, fleet, work))
    assert steps > 5


@asynccontextmanager
async def closing(fleet: Fleet) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """A pool with a request in flight that the drain would wait for; a second close must finish what a first began."""
    pool = make_pool(fleet)
    with fleet.hold() as hold:
        async with pool:
            held = asyncio.create_task(pool.post(0, "held"))
            await hold.wait_for(in_flight=1)
            yield pool.close(drain=0)
            await pool.close(drain=0)
            assert not (await held).success
            with pytest.raises(PoolClosed):
                await pool.post(0, "too late")
            assert pool.statistics().connections.open == 0
    await fleet.ledger.wait_for(open_now=0, in_flight=0)


async def test_a_close_cancelled_at_any_step_is_finished_by_the_next() -> None:
    async with Fleet(1, seed=1, ending="eager") as fleet:
        await cancel_at_every_step(partial(closing, fleet))
