from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from answers import Witness, hello
from raw_http import Peer, post

from fleetsim import BindError, EndingError, FakeVLLMServer, FleetEndpoint, FleetError, IllegalMoveError, ServerState
from fleetsim.book import Book
from fleetsim.errors import FaultError, RuleError
from fleetsim.wire.endings import Eager


async def test_a_server_goes_through_its_life() -> None:
    server = FakeVLLMServer(hello)
    states = [server.state]
    await server.start()
    states.append(server.state)
    async with Peer(server.port) as peer:
        await peer.send(post("/")[:-1])
        await server.ledger.wait_for(opened=1)
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        states.append(server.state)
        await draining
    states.append(server.state)
    assert states == [ServerState.STARTING, ServerState.SERVING, ServerState.DRAINING, ServerState.DEAD]


async def test_a_dead_server_does_not_rise() -> None:
    server = FakeVLLMServer(hello)
    await server.start()
    await server.close()
    for move in (server.start, server.drain, server.pause_accepting, server.resume_accepting):
        with pytest.raises(IllegalMoveError, match="server 0 "):
            await move()
        assert server.state is ServerState.DEAD
    await server.close()


async def test_an_illegal_move_changes_nothing() -> None:
    server = FakeVLLMServer(hello)
    for move in (server.drain, server.pause_accepting, server.resume_accepting):
        with pytest.raises(IllegalMoveError):
            await move()
        assert server.state is ServerState.STARTING
    await server.start()
    with pytest.raises(IllegalMoveError, match="server 0 cannot go from serving to serving"):
        await server.start()
    async with Peer(server.port) as peer:
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    await server.close()


async def test_a_server_may_be_closed_while_it_drains() -> None:
    witness = Witness()
    server = FakeVLLMServer(witness)
    await server.start()
    async with Peer(server.port) as peer:
        await peer.send(post("/"))
        await witness.begun.wait()
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        await server.close()
        await draining
        assert server.state is ServerState.DEAD
        assert witness.cancelled.is_set()


async def test_a_server_that_cannot_bind_is_dead() -> None:
    first = FakeVLLMServer(hello)
    await first.start()
    second = FakeVLLMServer(hello, port=first.port)
    with pytest.raises(BindError):
        await second.start()
    assert second.state is ServerState.DEAD
    await second.close()
    await first.close()


async def test_a_server_may_be_closed_before_it_is_started() -> None:
    server = FakeVLLMServer(hello)
    await server.close()
    assert server.state is ServerState.DEAD


async def test_the_endpoint_is_known_once_there_is_a_port() -> None:
    server = FakeVLLMServer(hello, tags={"zone": "a"})
    with pytest.raises(FleetError, match="server 0 has no port before it is started"):
        _ = server.endpoint
    await server.start()
    assert server.endpoint == FleetEndpoint("127.0.0.1", server.port, {"zone": "a"})
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.base_url == f"http://127.0.0.1:{server.port}/v1"
    await server.close()


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")])
async def test_a_server_on_every_address_is_reached_on_loopback(host: str, reached: str) -> None:
    server = FakeVLLMServer(hello, host=host)
    await server.start()
    assert server.endpoint.host == reached
    await server.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine's loopback")
async def test_a_server_on_ipv6_notes_its_peers_in_brackets() -> None:
    server = FakeVLLMServer(hello, host="::1")
    await server.start()
    reader, writer = await asyncio.open_connection("::1", server.port)
    writer.write(post("/", "x-fleet-ending: close"))
    assert (await reader.read()).endswith(b'{"read":0}')
    writer.close()
    await server.close()
    assert server.url == f"http://[::1]:{server.port}"
    assert server.ledger.connection_records()[0].peer.startswith("[::1]:")


def test_an_endpoint_is_hashable_and_puts_ipv6_in_brackets() -> None:
    endpoint = FleetEndpoint("::1", 8000, {"zone": "a"})
    assert endpoint.url == "http://[::1]:8000"
    assert len({endpoint, FleetEndpoint("::1", 8000, {"zone": "a"}), FleetEndpoint("::1", 8001)}) == 2


def test_a_wrong_ending_is_refused_at_once_and_changes_nothing() -> None:
    with pytest.raises(EndingError):
        FakeVLLMServer(hello, ending="slow")
    server = FakeVLLMServer(hello, ending="eager")
    with pytest.raises(EndingError):
        server.ending = "slow"
    assert server.ending == Eager()


async def test_the_repr_shows_state_port_and_connections() -> None:
    server = FakeVLLMServer(hello)
    assert repr(server) == "<FakeVLLMServer 0 starting, no port yet, 0 connections>"
    await server.start()
    assert repr(server) == f"<FakeVLLMServer 0 serving, port {server.port}, 0 connections>"
    await server.close()


async def test_servers_may_share_a_book() -> None:
    book = Book()
    servers = [FakeVLLMServer(hello, index=index, book=book) for index in range(2)]
    for server in servers:
        await server.start()
        async with Peer(server.port):
            await server.ledger.wait_for(opened=1)
        await server.ledger.wait_for(closed=1)
        await server.close()
    assert (book.total.opened, [part.opened for part in book.parts.values()]) == (2, [1, 1])


async def test_a_fault_strikes_while_its_rule_is_open_and_as_often_as_it_says() -> None:
    server = FakeVLLMServer(hello)
    await server.start()
    with server.fault("before_head", times=1, where={"route": "/struck"}) as rule:
        async with Peer(server.port) as peer:
            await peer.send(post("/spared"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
            await peer.send(post("/struck"))
            assert await peer.to_the_end() == b""
        async with Peer(server.port) as peer:
            await peer.send(post("/struck"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert (rule.armed, rule.fired) == (1, 1)
    assert [each.ending for each in server.ledger.request_records()] == ["split", "before_head", "split"]
    await server.close()


async def test_a_script_is_played_request_by_request() -> None:
    server = FakeVLLMServer(hello)
    await server.start()
    script = server.script("2x before_head", "ok", "reset;after=5")
    answers = []
    for _ in range(5):
        async with Peer(server.port) as peer:
            await peer.send(post("/"))
            try:
                answers.append((await peer.response())[-len(b'{"read":0}') :])
            except AssertionError:
                answers.append(b"FIN")
            except ConnectionResetError:
                answers.append(b"RST")
    assert answers == [b"FIN", b"FIN", b'{"read":0}', b"RST", b'{"read":0}']
    script.assert_consumed()
    await server.close()


async def test_a_request_that_names_its_fault_takes_no_step_of_a_script() -> None:
    server = FakeVLLMServer(hello)
    await server.start()
    with server.script("before_head") as script, server.fault("reset") as rule:
        async with Peer(server.port) as peer:
            await peer.send(post("/", "x-fleet-ending: eager"))
            assert (await peer.response()).endswith(b'{"read":0}')
        assert len(script.remaining) == 1
        assert rule.armed == 0
    await server.close()


def test_a_fault_that_cannot_be_is_refused_and_nothing_is_armed() -> None:
    server = FakeVLLMServer(hello)
    with pytest.raises(RuleError, match="rate: expected a number from 0 to 1, got 2"):
        server.fault("reset", rate=2)
    with pytest.raises(FaultError, match="unknown fault 'sulk'"):
        server.fault("sulk")
    with pytest.raises(FaultError, match="unknown fault 'sulk'"):
        server.script("ok", "sulk")
    assert server.script("ok").remaining == (None,)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), "5s", True])
def test_a_keepalive_timeout_that_cannot_be_changes_nothing(seconds: Any) -> None:
    server = FakeVLLMServer(hello, keepalive_timeout=2.0)
    with pytest.raises(ValueError, match="keepalive_timeout: expected seconds of at least 0, or None for never, got "):
        server.keepalive_timeout = seconds
    assert server.keepalive_timeout == 2.0
    server.keepalive_timeout = None
    assert server.keepalive_timeout is None


def test_a_server_refuses_a_host_or_a_keepalive_timeout_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="host: expected an address or a name as text, got None"):
        FakeVLLMServer(hello, host=None)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="keepalive_timeout: expected seconds of at least 0"):
        FakeVLLMServer(hello, keepalive_timeout=-1)
