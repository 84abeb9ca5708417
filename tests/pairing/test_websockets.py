"""Websockets of a pool against the fleet: both ledgers must tell the same."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from raw_agent import eventually

from fleetsim import Fleet
from fleetsim.profile import Profile
from swarmpool import AgentPool, VLLMPool, WatchedWebSocket, WebSocketPool


async def echoed(websocket: WatchedWebSocket, text: str) -> str:
    await websocket.send_str(text)
    return str(await websocket.receive_str(timeout=30))


async def balanced(pool: AgentPool, fleet: Fleet) -> None:
    """When quiet, what the pool has opened, closed and holds is what the fleet has seen."""
    await eventually(lambda: fleet.ledger.open_now == pool.statistics().connections.open)
    now = pool.statistics().connections
    assert (now.opened, now.closed) == (fleet.ledger.opened, fleet.ledger.closed)


async def test_both_ledgers_tell_the_same_of_websockets_and_requests() -> None:
    async with Fleet(4) as fleet, VLLMPool(fleet.endpoints, concurrency=8, connector_limit=12) as pool:

        async def talk(number: int) -> None:
            async with pool.websockets(number % 4, "/echo").connection() as websocket:
                for turn in range(3):
                    assert await echoed(websocket, f"{number} {turn}") == f"{number} {turn}"

        await asyncio.gather(*(talk(number) for number in range(24)), pool.send_all(["hello"] * 40))
        await balanced(pool, fleet)
        now = pool.statistics()
        assert now.connections.peak_open <= 12
        assert fleet.ledger.websockets_open == now.admission.kept
        assert fleet.ledger.messages_in == fleet.ledger.messages_out == 72
        await pool.close()
        await balanced(pool, fleet)
        assert (fleet.ledger.open_now, fleet.ledger.websockets_open) == (0, 0)


async def test_a_session_deadline_of_the_servers_is_noticed_while_idle() -> None:
    async with (
        Fleet(1, profile=Profile(ws_session_deadline=0.05)) as fleet,
        AgentPool(fleet.endpoints) as pool,
    ):
        sockets = pool.websockets(0, "/echo")
        for _ in range(3):
            async with sockets.connection() as websocket:
                assert await echoed(websocket, "in time") == "in time"
            await eventually(lambda: sockets.statistics().open == 0)
        assert (sockets.statistics().opened, sockets.statistics().lost, sockets.statistics().reused) == (3, 3, 0)
        await balanced(pool, fleet)


async def test_a_server_that_pings_closes_no_idle_websocket_that_is_listened_to() -> None:
    """vLLM's server pings every 20 s and waits 20 s; aiohttp answers only while somebody receives."""
    profile = Profile(ws_ping_interval=0.01, ws_ping_timeout=0.5)
    async with Fleet(1, profile=profile) as fleet, AgentPool(fleet.endpoints) as pool:
        await pool.websockets(0, "/echo").prewarm()
        for _ in range(20):
            async with pool.websockets(0, "/echo").connection() as websocket:
                assert await echoed(websocket, "still here") == "still here"
            await asyncio.sleep(0.01)  # for the server to ping in
        assert (fleet.ledger.websockets, fleet.ledger.websockets_open) == (1, 1)


async def test_an_event_of_realtime_comes_through() -> None:
    async with (
        Fleet(1) as fleet,
        VLLMPool(fleet.endpoints) as pool,
        pool.websockets(0).connection() as websocket,
    ):
        first = json.loads(await websocket.receive_str(timeout=30))
        assert first["type"] == "session.created"


@pytest.mark.parametrize("seed", range(6))
async def test_limits_hold_whatever_the_mix_of_websockets_and_requests(seed: int) -> None:
    chance = random.Random(seed)
    limit = chance.randint(2, 6)
    async with (
        Fleet(3, seed=seed) as fleet,
        AgentPool(fleet.endpoints, concurrency=chance.randint(1, 8), connector_limit=limit) as pool,
    ):

        async def talk() -> None:
            sockets = pool.websockets(chance.randrange(3), "/echo")
            async with sockets.connection() as websocket:
                await echoed(websocket, "hello")
                if chance.random() < 0.2:
                    raise RuntimeError("the connection is thrown away")

        async def one(number: int) -> Any:
            await asyncio.sleep(chance.random() / 50)
            return await (talk() if chance.random() < 0.5 else pool.post(number % 3, "hello"))

        tasks = [asyncio.create_task(one(number)) for number in range(60)]
        loop = asyncio.get_running_loop()
        cancels = [loop.call_later(chance.random() / 25, task.cancel) for task in chance.sample(tasks, 10)]
        await asyncio.wait(tasks, timeout=60)
        assert all(task.done() for task in tasks)
        for cancel in cancels:
            cancel.cancel()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                assert "thrown away" in str(error)
        now = pool.statistics()
        assert now.connections.peak_open <= limit
        assert now.admission.in_flight == 0
        await eventually(lambda: fleet.ledger.websockets_open == pool.statistics().admission.kept)
        await eventually(lambda: fleet.ledger.open_now == pool.statistics().connections.open)
        end = pool.statistics().connections
        # A dial cancelled as it connects has failed for the client, and the server may have accepted it.
        assert end.opened <= fleet.ledger.opened <= end.opened + end.failed


async def test_a_greeting_is_out_of_turn_where_nobody_waits_unless_connect_receives_it() -> None:
    """vLLM's `/v1/realtime` speaks first."""

    class Greeted(WebSocketPool):
        async def connect(self, timeout: float) -> WatchedWebSocket:
            websocket = await super().connect(timeout)
            await websocket.receive_str()
            return websocket

    async with Fleet(1) as fleet:
        url = f"{fleet[0].url}/v1/realtime"
        async with WebSocketPool(url) as plain, Greeted(url) as greeted:
            await plain.prewarm(2)
            await greeted.prewarm(2)
            await eventually(lambda: plain.statistics().lost == 2)
            assert (plain.statistics().idle, greeted.statistics().idle) == (0, 2)
            async with greeted.connection() as websocket:
                await websocket.send_str('{"type": "hello"}')
                assert "Unknown event type: hello" in await websocket.receive_str(timeout=30)
