"""The connector on real sockets: how many there are, when they end, which may serve again, and what it never does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from leak_gate import open_sockets
from raw_agent import RawAgent, RawConnection, eventually, http, says
from watched import on_watched_loop

from fleetsim.proofs.witness import WatchedLoop
from swarmpool import AgentEndpoint, AgentPool, FailureKind
from swarmpool.sockets import SocketStatistics


def sockets_of(pool: AgentPool) -> SocketStatistics:
    return pool.statistics().connections


@asynccontextmanager
async def raw_agents(number: int, **how: Any) -> AsyncIterator[list[RawAgent]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(RawAgent(**how)) for _ in range(number)]


# ------------------------------------------------------------------------------------------------------- the limit


def test_there_are_never_more_sockets_than_the_limit_idle_ones_included() -> None:
    """aiohttp's own limit counts requests: 3 of them over 30 hosts held 30 sockets."""

    async def main(loop: WatchedLoop) -> None:
        async with raw_agents(12) as agents:
            endpoints = [agent.endpoint for agent in agents]
            async with AgentPool(endpoints, connector_limit=3) as pool:
                for number in range(24):
                    assert (await pool.post(number % 12, "one after the other")).success
                assert all(response.success for response in await pool.send_all(["many at once"] * 200))
                assert (loop.witness.peak_open, sockets_of(pool).peak_open) == (3, 3)
                assert sum(agent.open_now for agent in agents) <= 3 + sockets_of(pool).closing
            assert loop.witness.open_now == 0
            assert loop.witness.attempts == sockets_of(pool).opened == sockets_of(pool).closed
            await eventually(lambda: all(agent.open_now == 0 for agent in agents))
            assert sum(agent.opened for agent in agents) == loop.witness.attempts

    on_watched_loop(main)


def test_the_limit_holds_while_requests_are_cancelled_at_random() -> None:
    async def one(pool: AgentPool, chance: random.Random) -> None:
        request = asyncio.ensure_future(pool.post(chance.randrange(pool.size), "hi"))
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])

    async def main(loop: WatchedLoop) -> None:
        chance = random.Random(5)
        async with raw_agents(6) as agents:
            async with AgentPool([agent.endpoint for agent in agents], connector_limit=4) as pool:
                await asyncio.gather(*(one(pool, chance) for _ in range(300)))
                assert loop.witness.peak_open <= 4
                assert sockets_of(pool).peak_open <= 4
                assert all(response.success for response in await pool.send_all(["hi"] * 50))
            assert loop.witness.open_now == 0
            assert sockets_of(pool).opened == sockets_of(pool).closed

    on_watched_loop(main)


async def test_aiohttps_own_queue_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It loses wakeups, is random across hosts, and cancels callers nobody cancelled when it closes."""

    async def queued(*_: object) -> None:
        raise AssertionError("a request waits in aiohttp's queue")

    monkeypatch.setattr("aiohttp.TCPConnector._wait_for_available_connection", queued)
    async with raw_agents(5) as agents, AgentPool([agent.endpoint for agent in agents], connector_limit=2) as pool:
        assert all(response.success for response in await pool.send_all(["hi"] * 100))


async def test_each_exchange_is_counted_as_new_or_reused_exactly() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint], concurrency=4) as pool:
        await pool.send_all(["hi"] * 4)
        await pool.send_all(["hi"] * 96)
        now = sockets_of(pool)
        assert (now.opened, now.reused, now.idle, now.acquired, now.open) == (agent.opened, 100 - agent.opened, 4, 0, 4)


# --------------------------------------------------------------------------------------------------------- idle sockets


async def test_an_idle_connection_is_ended_by_us_on_time() -> None:
    """aiohttp's own cleaner comes up to twice as late, and by then the server may have closed first."""
    async with RawAgent() as agent, AgentPool([agent.endpoint], keepalive_timeout=0.1) as pool:
        await asyncio.gather(*(pool.post(0, "hi") for _ in range(3)))
        rested = asyncio.get_running_loop().time()
        for connection in agent.connections:
            await connection.lost.wait()
        assert asyncio.get_running_loop().time() - rested >= 0.09
        assert (sockets_of(pool).expired, sockets_of(pool).lost_idle) == (3, 0)
        assert (await pool.post(0, "hi")).connection == "new"


async def test_without_a_keepalive_timeout_idle_connections_stay() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint], keepalive_timeout=None) as pool:
        await pool.post(0, "hi")
        assert (await pool.post(0, "hi")).connection == "reused"
        assert agent.opened == 1


async def test_an_idle_connection_that_the_server_closes_is_noticed_and_replaced() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        await pool.post(0, "hi")
        agent.connections[0].close()
        await eventually(lambda: sockets_of(pool).lost_idle == 1)
        assert sockets_of(pool).open == 0
        assert (await pool.post(0, "hi")).connection == "new"


@pytest.mark.parametrize(
    "speech",
    [says("not yours"), b"HTTP/1.1 200 OK\r\ncontent-le", b"\r\n", b"noise"],
    ids=["a whole answer", "half a head", "an empty line", "noise"],
)
async def test_an_idle_connection_on_which_the_server_speaks_is_not_reused(speech: bytes) -> None:
    """aiohttp gives such an answer to the next request as its own (aiohttp #13656)."""
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        assert (await pool.post(0, "hi")).success
        agent.connections[0].write(speech)
        await agent.connections[0].lost.wait()
        agent.respond = lambda connection: connection.write(says("yours"))
        response = await pool.post(0, "hi")
        assert (response.text, response.connection) == ("yours", "new")
        assert (sockets_of(pool).poisoned, sockets_of(pool).reused) == (1, 0)


async def test_a_second_answer_in_the_same_segment_goes_to_nobody() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(says("first"), says("second"))

    async with RawAgent(respond) as agent, AgentPool([agent.endpoint]) as pool:
        assert [(await pool.post(0, "hi")).text for _ in range(3)] == ["first"] * 3
        assert agent.opened == 3


@pytest.mark.parametrize("connection_header", ["connection: close", None])
async def test_a_server_that_closes_after_its_answer_is_believed(connection_header: str | None) -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(http(b'{"response":"bye"}', *([connection_header] if connection_header else [])))
        connection.close()

    async with RawAgent(respond) as agent, AgentPool([agent.endpoint]) as pool:
        for _ in range(3):
            assert (await pool.post(0, "hi")).unwrap() == "bye"
            await eventually(lambda: sockets_of(pool).open == 0)
        assert agent.opened == 3


async def test_room_for_another_host_is_made_by_the_longest_idle_connection() -> None:
    async with raw_agents(3) as agents, AgentPool([agent.endpoint for agent in agents], connector_limit=2) as pool:
        await pool.post(0, "oldest")
        await pool.post(1, "younger")
        await pool.post(2, "needs room")
        await agents[0].connections[0].lost.wait()
        assert (await pool.post(1, "still there")).connection == "reused"
        assert (sockets_of(pool).evicted, sockets_of(pool).peak_open) == (1, 2)


# ----------------------------------------------------------------------------------------------------------- being cut


async def test_a_large_post_cut_short_leaves_no_descriptor_at_a_peer_that_has_stopped_reading() -> None:
    """Plain `session.close()` leaves it open, for as long as the peer likes."""
    async with RawAgent(deaf=True) as agent:
        before = open_sockets().keys()
        async with AgentPool([agent.endpoint]) as pool:
            request = asyncio.create_task(pool.post(0, "x" * 30_000_000))
            await eventually(lambda: agent.connections)
            for _ in range(5):
                await asyncio.sleep(0.001)
            request.cancel()
            await asyncio.wait([request])
            assert request.cancelled()
            assert sockets_of(pool).acquired == 0
        assert sockets_of(pool).open == 0
        assert len(open_sockets().keys() - before) <= agent.opened


async def test_a_large_post_under_way_at_the_close_is_cut_and_leaves_no_descriptor() -> None:
    async with RawAgent(deaf=True) as agent:
        pool = AgentPool([agent.endpoint])
        request = asyncio.create_task(pool.post(0, "x" * 30_000_000))
        await eventually(lambda: agent.connections)
        await pool.close(drain=0)
        assert (await request).kind is FailureKind.CLOSED
        assert sockets_of(pool).open == 0


async def test_an_early_answer_to_a_body_still_being_sent_ends_the_connection() -> None:
    """The rest of the body would be read as the next request."""
    async with RawAgent(deaf=True) as agent, AgentPool([agent.endpoint]) as pool:
        request = asyncio.create_task(pool.post(0, "x" * 30_000_000))
        await eventually(lambda: agent.connections)
        agent.connections[0].write(http(b'{"error":"too long"}', status="413 Content Too Large"))
        response = await request
        assert (response.status, response.error) == (413, "status 413: too long")
        assert (sockets_of(pool).idle, sockets_of(pool).acquired) == (0, 0)
        await eventually(lambda: sockets_of(pool).open == 0)


# ------------------------------------------------------------------------------------------------ what it does not do


async def test_redirects_are_not_followed() -> None:
    away = http(b"", "location: http://127.0.0.1:9/elsewhere", status="307 Temporary Redirect")
    async with RawAgent(lambda connection: connection.write(away)) as agent, AgentPool([agent.endpoint]) as pool:
        response = await pool.post(0, "hi")
        assert (response.kind, response.status, response.attempts) == (FailureKind.STATUS, 307, 1)
        assert len(agent.requests) == 1


async def test_cookies_are_not_kept() -> None:
    cookie = http(b'{"response":""}', "set-cookie: session=1; path=/")
    async with RawAgent(lambda connection: connection.write(cookie)) as agent:
        endpoint = AgentEndpoint("localhost", agent.port)
        async with AgentPool([endpoint]) as pool:
            for _ in range(2):
                await pool.post(0, "hi")
        heads = [head for connection in agent.connections for head in connection.heads]
        assert len(heads) == 2
        assert not any(b"cookie" in head.lower() for head in heads)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        assert (await pool.post(0, "hi")).success


async def test_a_get_is_not_repeated_behind_our_back() -> None:
    """aiohttp repeats idempotent methods once, also on a connection that is new, and counts it nowhere."""
    async with RawAgent(lambda connection: connection.close()) as agent, AgentPool([agent.endpoint]) as pool:
        assert pool._session is not None
        with pytest.raises(Exception, match="disconnected"):
            await pool._session.get(agent.endpoint.url)
        assert len(agent.requests) == 1


async def test_headers_of_the_pool_go_with_every_request() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint], headers={"X-Job": "17"}) as pool:
        await pool.post(0, "hi")
        await pool.stream(0, "hi")
        heads = [head.lower() for connection in agent.connections for head in connection.heads]
        assert [b"x-job: 17" in head for head in heads] == [True, True]
        assert all(b"content-type: application/json" in head for head in heads)
