"""A caller of a tree's websockets, cancelled at every step: nothing is lost at either end, whatever is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from raw_agent import eventually

from fleetsim import Fleet
from swarmpool import AgentPool, WebSocketPool

Start = Callable[[AgentPool], Any]


async def nothing(pool: AgentPool) -> None:
    """The first caller there is."""


async def one_is_idle(pool: AgentPool) -> None:
    await pool.websockets(0, "/echo").prewarm(1)


async def all_are_another_agents_and_idle(pool: AgentPool) -> None:
    await pool.websockets(1, "/echo").prewarm(2)


async def a_request_left_its_connection(pool: AgentPool) -> None:
    assert (await pool.post(0, "before")).success


def released_soon(pool: AgentPool) -> asyncio.Task[None]:
    """All sockets there can be are leased, and come back in the middle of the steps."""

    async def release() -> None:
        leases = [await pool.websockets(1, "/echo").acquire() for _ in range(2)]
        await asyncio.sleep(0)
        for lease in leases:
            lease.release()

    return asyncio.ensure_future(release())


def requests_are_waiting(pool: AgentPool) -> asyncio.Future[Any]:
    return asyncio.ensure_future(asyncio.gather(*(pool.post(0, "meanwhile") for _ in range(6))))


async def check(pool: AgentPool, fleet: Fleet, websockets: WebSocketPool, other: WebSocketPool) -> None:
    """What is kept is what is open; the next caller and the next request are served; after close nothing is left."""

    def quiet() -> bool:
        one, two = websockets.statistics(), other.statistics()
        busy = one.leased + one.waiting + one.dialing + two.leased + two.dialing
        return not busy and one.open + two.open == pool.statistics().admission.kept

    await eventually(quiet, f"{websockets!r}, {other!r}, {pool.statistics().admission}")
    assert (await pool.post(0, "afterwards")).success
    async with websockets.connection(timeout=20) as websocket:
        await websocket.send_str("well")
        assert await websocket.receive_str() == "well"
    assert pool.statistics().connections.peak_open <= 3
    await pool.close()
    end = pool.statistics()
    assert (end.admission.kept, end.connections.open) == (0, 0)
    await fleet.ledger.wait_for(open_now=0, websockets_open=0)


def scene(fleet: Fleet, begin: Start) -> Callable[[], AbstractAsyncContextManager[Any]]:
    @asynccontextmanager
    async def surroundings() -> AsyncIterator[Any]:
        async with AgentPool(fleet.endpoints, concurrency=4, connector_limit=3) as pool:
            websockets = pool.websockets(0, "/echo", reconnect_delay=None)
            begun = begin(pool)
            if asyncio.iscoroutine(begun):
                await begun

            async def victim() -> None:
                (await websockets.acquire()).release()

            yield victim()
            if not asyncio.iscoroutine(begun):
                await begun
            await check(pool, fleet, websockets, pool.websockets(1, "/echo"))

    return surroundings


@pytest.mark.parametrize(
    "begin",
    [
        nothing,
        one_is_idle,
        all_are_another_agents_and_idle,
        a_request_left_its_connection,
        released_soon,
        requests_are_waiting,
    ],
)
async def test_nothing_is_lost_whenever_the_caller_is_cancelled(begin: Start) -> None:
    async with Fleet(2) as fleet:
        assert await cancel_at_every_step(scene(fleet, begin)) >= (1 if begin is one_is_idle else 5)
