"""Each fault of connecting: what a raw socket gets, and what aiohttp's client makes of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import cast

import aiohttp
import pytest
from answers import hello
from faulty import BODY, UNARY_HEAD
from raw_http import Peer, dated, post

from fleetsim import Fleet
from fleetsim.book import Book
from fleetsim.faults.catalogue import Fault, parse_fault
from fleetsim.faults.kinds import Standing
from fleetsim.process import Life, ServerProcess
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


async def listening(backlog: int = 8) -> tuple[ServerProcess, Listener, int]:
    listener = Listener(settings := WireSettings(hello), book := Book(), 0)
    book.add_part()
    process = ServerProcess(listener, settings, book, cast("Life", None))  # none of these ends the process
    return process, listener, await listener.listen("127.0.0.1", 0, backlog)


async def is_answered(port: int) -> bool:
    async with Peer(port) as peer:
        await peer.send(post("/"))
        return dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY


async def test_refuse_refuses_new_connections_until_it_ends_and_lets_old_ones_live() -> None:
    process, listener, port = await listening()
    async with Peer(port) as old:
        await old.send(post("/"))
        await old.response()
        for undo in [standing("refuse").begin(process) for _ in range(2)]:
            with pytest.raises(ConnectionRefusedError):
                await Peer(port).__aenter__()
            await old.send(post("/"))
            assert dated(await old.response()) == UNARY_HEAD % len(BODY) + BODY
            await undo()
        async with Peer(port) as new:
            await new.send(post("/"))
            assert dated(await new.response()) == UNARY_HEAD % len(BODY) + BODY
    await listener.close()


async def test_aiohttp_cannot_connect_where_it_is_refused() -> None:
    process, listener, port = await listening()
    standing("refuse").begin(process)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.post(f"http://127.0.0.1:{port}/")
        assert isinstance(caught.value.os_error, ConnectionRefusedError)
    await listener.close()


async def test_a_server_that_has_ended_does_not_listen_again() -> None:
    process, listener, port = await listening()
    undone = [standing(name).begin(process) for name in ("refuse", "accept_paused")]
    await listener.close()
    for undo in undone:
        await undo()
    with pytest.raises(ConnectionRefusedError):
        await Peer(port).__aenter__()


async def test_while_accepting_is_paused_a_connect_succeeds_and_is_served_afterwards() -> None:
    process, listener, port = await listening()
    undo = standing("accept_paused").begin(process)
    timeout = aiohttp.ClientTimeout(sock_read=0.05)
    async with Peer(port) as peer, aiohttp.ClientSession(timeout=timeout) as session:
        await peer.send(post("/"))
        with pytest.raises(aiohttp.SocketTimeoutError):
            await session.post(f"http://127.0.0.1:{port}/")
        assert peer.is_quiet()
        await undo()
        assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
    await listener.close()


async def test_two_pauses_come_off_one_by_one() -> None:
    process, listener, port = await listening()
    pauses = [standing("accept_paused").begin(process) for _ in range(2)]
    async with Peer(port) as peer:
        await peer.send(post("/"))
        await pauses[1]()
        await later_turns()
        assert (listener.book.total.opened, peer.is_quiet()) == (0, True)
        await pauses[0]()
        assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
    await listener.close()


@pytest.mark.parametrize("names", [("refuse", "accept_paused"), ("accept_paused", "refuse")])
@pytest.mark.parametrize("first_off", [0, 1])
async def test_a_refusal_and_a_pause_overlap_and_come_off_in_any_order(names: tuple[str, str], first_off: int) -> None:
    """Guards against what was: a refusal forgot the pause that stood, and with it the port was accepting again."""
    process, listener, port = await listening()
    undo = {name: standing(name).begin(process) for name in names}
    with pytest.raises(ConnectionRefusedError):
        await Peer(port).__aenter__()
    await undo.pop(names[first_off])()
    if "refuse" in undo:
        with pytest.raises(ConnectionRefusedError):
            await Peer(port).__aenter__()
    else:
        async with Peer(port) as waiting:
            await waiting.send(post("/"))
            await later_turns()
            assert (listener.book.total.opened, waiting.is_quiet()) == (0, True)
    for last in undo.values():
        await last()
    assert await is_answered(port)
    await listener.close()


async def later_turns() -> None:
    """Long enough for whoever accepts to have accepted."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_beyond_the_backlog_syns_go_unanswered_and_a_connect_times_out() -> None:
    """How many fit is the kernel's affair (on Linux the backlog and one): connect until one does not come through."""
    process, listener, port = await listening(backlog=1)
    undo = standing("accept_paused").begin(process)
    async with AsyncExitStack() as queued:
        for _ in range(20):
            peer = Peer(port)
            queued.callback(peer.close)
            if not await came_through(peer):
                break
        else:
            raise AssertionError("twenty connects came through a backlog of one")
        timeout = aiohttp.ClientTimeout(sock_connect=0.05)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await session.post(f"http://127.0.0.1:{port}/")
    await undo()
    assert await is_answered(port)
    await listener.close()


async def came_through(peer: Peer) -> bool:
    """On loopback a handshake is over as soon as it is begun, unless nobody answers the SYN."""
    connecting = asyncio.ensure_future(peer.__aenter__())
    done, _ = await asyncio.wait([connecting], timeout=1.0)
    connecting.cancel()
    await asyncio.wait([connecting])
    return bool(done)


@pytest.mark.parametrize("fault", ["refuse", "accept_fin"])
async def test_no_request_can_ask_for_what_strikes_before_it(fault: str) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", f"x-fleet-fault: {fault}"))
        refused = await peer.response()
        assert refused.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        expected = f"X-Fleet-Fault: fault '{fault}' strikes at connect: no request can ask for it\n"
        assert refused.endswith(expected.encode())
