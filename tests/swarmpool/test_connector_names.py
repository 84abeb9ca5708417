"""Host names: several addresses, one attempt at a time; one lookup in the life of a pool; names that cannot be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, eventually, http
from watched import on_watched_loop

from fleetsim.proofs.peers import silent_peer
from fleetsim.proofs.witness import WatchedLoop
from swarmpool import AgentPool, FailureKind
from swarmpool.sockets import SocketStatistics


def sockets_of(pool: AgentPool) -> SocketStatistics:
    return pool.statistics().connections


Neighbour = Callable[[int], AbstractContextManager[object]]


def refused(host: str) -> Neighbour:
    """Makes sure that nobody listens on a port of `host`, by holding it."""

    @contextmanager
    def neighbour(port: int) -> Iterator[None]:
        with socket.socket() as held:
            held.bind((host, port))
            yield

    return neighbour


@asynccontextmanager
async def agent_at(host: str, *neighbours: Neighbour) -> AsyncIterator[RawAgent]:
    """An agent at `host`, and these at the same port of other addresses; tried until all have it."""
    while True:
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(RawAgent(hosts=(host,)))
            try:
                for neighbour in neighbours:
                    stack.enter_context(neighbour(agent.port))
            except OSError:
                continue
            yield agent
            return


def test_a_name_with_three_addresses_is_dialled_one_at_a_time() -> None:
    """Happy eyeballs would race them, with sockets nobody has counted."""

    async def main(loop: WatchedLoop) -> None:
        async with agent_at("127.0.0.3", refused("127.0.0.1"), refused("127.0.0.2")) as agent:
            loop.names["agents.example"] = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
            async with AgentPool([("agents.example", agent.port)], connector_limit=1) as pool:
                assert (await pool.post(0, "hi")).success
                assert (loop.witness.attempts, loop.witness.peak_open) == (3, 1)
                assert (sockets_of(pool).opened, sockets_of(pool).peak_open) == (1, 1)

    on_watched_loop(main)


def test_a_silent_address_gives_way_to_the_next_after_connect_timeout() -> None:
    async def main(loop: WatchedLoop) -> None:
        async with agent_at("127.0.0.2", partial(silent_peer, "127.0.0.1")) as agent:
            loop.names["agents.example"] = ("127.0.0.1", "127.0.0.2")
            async with AgentPool([("agents.example", agent.port)], connect_timeout=0.1) as pool:
                assert (await pool.post(0, "hi")).success
                assert (loop.witness.attempts, loop.witness.peak_open) == (2, 1)

    on_watched_loop(main)


def test_silence_at_every_address_is_of_kind_connect_timeout_and_loses_no_slot() -> None:
    async def main(loop: WatchedLoop) -> None:
        with silent_peer() as peer:
            async with AgentPool([peer], connect_timeout=0.1, connector_limit=1) as pool:
                for _ in range(2):
                    assert (await pool.post(0, "hi")).kind is FailureKind.CONNECT_TIMEOUT
                now = sockets_of(pool)
                assert (now.open, now.failed, loop.witness.peak_open) == (0, 2, 1)

    on_watched_loop(main)


async def count_lookups(monkeypatch: pytest.MonkeyPatch, answer: asyncio.Event | None = None) -> list[str]:
    """Every name is this machine's, from when `answer` is set; the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if answer is not None:
            await answer.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


def closing(connection: RawConnection) -> None:
    connection.write(http(b'{"response":""}', "connection: close"))


async def test_a_name_is_looked_up_once_in_the_life_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await count_lookups(monkeypatch)
    async with RawAgent(closing) as agent, AgentPool([("agents.example", agent.port)]) as pool:
        await asyncio.gather(*(pool.post(0, "hi") for _ in range(10)))
        await pool.post(0, "hi")
        assert agent.opened == 11
        assert asked == ["agents.example"]


async def test_a_name_is_looked_up_again_after_dns_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await count_lookups(monkeypatch)
    async with RawAgent(closing) as agent, AgentPool([("agents.example", agent.port)], dns_ttl=0.01) as pool:
        await pool.post(0, "hi")
        await asyncio.sleep(0.02)
        await pool.post(0, "hi")
        assert len(asked) == 2


async def test_more_names_than_aiohttp_remembers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since aiohttp 3.13.4 its cache keeps 1,000 names; a pool of 4,000 hosts would ask again and again."""
    asked = await count_lookups(monkeypatch)
    async with AgentPool([("127.0.0.1", 9)]) as pool:
        connector = pool._tree._connector
        assert connector is not None
        for _ in range(2):
            for number in range(1_200):
                await connector._resolve_host(f"node{number}.example", 80)
    assert len(asked) == 1_200


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "x" * 300])
async def test_a_name_that_cannot_be_asked_for_is_of_kind_dns(host: str) -> None:
    """The lookup raises a UnicodeError, which went through and took a whole send_all with it."""
    async with RawAgent() as agent, AgentPool([(host, 80), agent.endpoint]) as pool:
        bad, good = await pool.send_all(["hi", "hi"])
        assert bad.kind is FailureKind.DNS
        assert host in (bad.error or "")
        assert good.success
        assert (sockets_of(pool).failed, sockets_of(pool).dialing) == (1, 0)


async def test_a_lookup_whose_caller_is_cancelled_goes_on_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await count_lookups(monkeypatch, answer := asyncio.Event())
    async with RawAgent() as agent, AgentPool([("agents.example", agent.port)]) as pool:
        first = asyncio.create_task(pool.post(0, "hi"))
        second = asyncio.create_task(pool.post(0, "hi"))
        await eventually(lambda: asked)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        answer.set()
        assert (await second).success
        assert len(asked) == 1


async def test_a_pool_that_closes_during_a_lookup_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp throws a CancelledError nobody sent at whoever waits for the name."""
    asked = await count_lookups(monkeypatch, asyncio.Event())
    pool = AgentPool([("agents.example", 80)])
    request = asyncio.create_task(pool.post(0, "hi"))
    await eventually(lambda: asked)
    await pool.close(drain=0)
    assert (await request).kind is FailureKind.CLOSED
    assert request.cancelling() == 0


async def test_ipv6_works() -> None:
    try:
        async with RawAgent(hosts=("::1",)) as agent, AgentPool([agent.endpoint]) as pool:
            assert (await pool.post(0, "hi")).success
            assert f"host: [::1]:{agent.port}" in agent.connections[0].heads[0].decode().lower()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
