"""Each fault of connecting: what a raw socket gets, and what aiohttp's client makes of it."""

from __future__ import annotations

import aiohttp
import pytest
from answers import hello
from faulty import BODY, UNARY_HEAD
from raw_http import Peer, dated, post

from fleetsim import Fleet
from fleetsim.book import Book
from fleetsim.faults.catalogue import Fault, parse_fault
from fleetsim.faults.kinds import Standing
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings

SINGLE = pytest.mark.parametrize(("fault", "how"), [("accept_fin", "fin"), ("accept_rst", "rst")])


@SINGLE
async def test_a_connection_ends_as_soon_as_it_is_accepted(fault: str, how: str) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet[0].fault(fault):
            async with Peer(fleet[0].port) as peer:
                assert await (peer.to_the_end() if how == "fin" else peer.to_the_reset()) == b""
        await fleet.ledger.wait_for(opened=1, open_now=0)
        (connection,) = fleet.ledger.connection_records()
        assert (connection.ended_by, connection.ended_how, connection.requests) == ("server", how, 0)
        assert connection.faults == (fault,)


@SINGLE
@pytest.mark.parametrize(("method", "connections"), [("POST", 1), ("GET", 2)])
async def test_aiohttp_is_disconnected_and_tries_a_get_twice(
    fault: str, how: str, method: str, connections: int
) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession() as session:
        with fleet[0].fault(fault), pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await session.request(method, fleet[0].url)
        await fleet.ledger.wait_for(opened=connections, open_now=0)
        assert (fleet.ledger.opened, fleet.ledger.requests) == (connections, 0)


async def test_a_blackhole_reads_nothing_and_says_nothing() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet[0].fault("blackhole"):
            async with Peer(fleet[0].port) as peer, Peer(fleet[0].port) as other:
                await peer.send(post("/"))
                await fleet.ledger.wait_for(opened=2)
                assert peer.is_quiet()
                assert other.is_quiet()
                assert fleet.ledger.requests == 0
        assert [record.faults for record in fleet.ledger.connection_records()] == [("blackhole",), ("blackhole",)]


async def test_aiohttp_times_out_in_a_blackhole() -> None:
    timeout = aiohttp.ClientTimeout(sock_read=0.05)
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession(timeout=timeout) as session:
        with fleet[0].fault("blackhole"), pytest.raises(aiohttp.SocketTimeoutError):
            await session.post(fleet[0].url)


async def test_a_slow_accept_serves_in_the_end() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet[0].fault("slow_accept", seconds=0.02):
            async with Peer(fleet[0].port) as peer:
                await peer.send(post("/"))
                assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
        (connection,), (request,) = fleet.ledger.connection_records(), fleet.ledger.request_records()
        assert request.arrived_at - connection.opened_at >= 0.02 - 0.001
        assert (connection.faults, request.faults) == (("slow_accept",), ())


async def test_a_slow_accept_says_nothing_until_then() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet[0].fault("slow_accept", seconds=3600):
            async with Peer(fleet[0].port) as peer:
                await peer.send(post("/"))
                await fleet.ledger.wait_for(opened=1)
                assert peer.is_quiet()


async def test_aiohttp_lives_through_a_slow_accept() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession() as session:
        with fleet[0].fault("slow_accept", seconds=0.01):
            async with session.post(fleet[0].url) as response:
                assert await response.read() == BODY


def standing(name: str) -> Standing:
    fault: Fault = parse_fault(name)
    assert isinstance(fault, Standing)
    return fault


async def listening() -> tuple[Listener, int]:
    listener = Listener(WireSettings(hello), book := Book(), 0)
    book.add_part()
    return listener, await listener.listen("127.0.0.1", 0, 8)


async def test_refuse_refuses_new_connections_until_it_ends_and_lets_old_ones_live() -> None:
    listener, port = await listening()
    refuse = standing("refuse")
    async with Peer(port) as old:
        await old.send(post("/"))
        await old.response()
        await refuse.begin(listener)
        await refuse.begin(listener)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await Peer(port).__aenter__()
            await old.send(post("/"))
            assert dated(await old.response()) == UNARY_HEAD % len(BODY) + BODY
            await refuse.end(listener)
        async with Peer(port) as new:
            await new.send(post("/"))
            assert dated(await new.response()) == UNARY_HEAD % len(BODY) + BODY
    await listener.close()


async def test_aiohttp_cannot_connect_where_it_is_refused() -> None:
    listener, port = await listening()
    await standing("refuse").begin(listener)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.post(f"http://127.0.0.1:{port}/")
        assert isinstance(caught.value.os_error, ConnectionRefusedError)
    await listener.close()


async def test_a_server_that_has_ended_does_not_listen_again() -> None:
    listener, port = await listening()
    await standing("refuse").begin(listener)
    await listener.close()
    await standing("refuse").end(listener)
    with pytest.raises(ConnectionRefusedError):
        await Peer(port).__aenter__()


async def test_while_accepting_is_paused_a_connect_succeeds_and_is_served_afterwards() -> None:
    listener, port = await listening()
    paused = standing("accept_paused")
    await paused.begin(listener)
    timeout = aiohttp.ClientTimeout(sock_read=0.05)
    async with Peer(port) as peer, aiohttp.ClientSession(timeout=timeout) as session:
        await peer.send(post("/"))
        with pytest.raises(aiohttp.SocketTimeoutError):
            await session.post(f"http://127.0.0.1:{port}/")
        assert peer.is_quiet()
        await paused.end(listener)
        assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
    await listener.close()


@pytest.mark.parametrize("fault", ["refuse", "accept_fin"])
async def test_no_request_can_ask_for_what_strikes_before_it(fault: str) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", f"x-fleet-fault: {fault}"))
        refused = await peer.response()
        assert refused.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        expected = f"X-Fleet-Fault: fault '{fault}' strikes at connect: no request can ask for it\n"
        assert refused.endswith(expected.encode())
