from __future__ import annotations

import gc

import pytest
from answers import DONE, Witness, hello, streamed
from raw_http import Peer, get, post

from fleetsim import Answer, ApiRequest, Fleet, Reply, Unary, WebSocket, WebSocketEnd
from fleetsim.wire.turn import Turn, is_loopback


async def told(request: ApiRequest) -> Reply:
    """The request as the application got it."""
    return Unary(200, f"{request.method} {request.path} {request.query} {request.headers['X-Mark']}".encode())


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/v1/models", "/v1/models "),
        ("/a?b=c&d=e", "/a b=c&d=e"),
        ("/a%20b?c%20d", "/a b c%20d"),
        ("http://elsewhere/a?b", "/a b"),
    ],
)
async def test_the_application_gets_path_query_and_headers(target: str, seen: str) -> None:
    async with Fleet(1, answer=lambda index: told) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get(target, "x-mark: 7"))
        assert (await peer.response()).endswith(f"\r\n\r\nGET {seen} 7".encode())


async def test_a_wrong_ending_in_the_header_is_a_400_in_one_sentence() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "X-Fleet-Ending: eager;gap=1s"))
        response = await peer.response()
        assert response.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert response.endswith(b"\r\n\r\nX-Fleet-Ending: fault 'eager' has no parameter 'gap'; it takes none\n")
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("switch", "honoured"), [(None, True), (True, True), (False, False)])
async def test_the_ending_header_is_honoured_from_loopback_or_by_switch(switch: bool | None, honoured: bool) -> None:
    fleet = Fleet(1, answer=lambda index: hello, ending_header=switch)
    async with fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "x-fleet-ending: close"))
        assert (b"connection: close" in await peer.response()) is honoured


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1:5", True),
        ("127.8.0.1:5", True),
        ("[::1]:5", True),
        ("[::ffff:127.0.0.1]:5", True),
        ("192.0.2.7:5", False),
        ("[fe80::1%eth0]:5", False),
        ("[::ffff:192.0.2.7]:5", False),
        ("unknown", False),
    ],
)
def test_loopback_is_told_from_the_rest_of_the_world(peer: str, local: bool) -> None:
    assert is_loopback(peer) is local


async def test_connection_and_request_are_told_when_asked_for() -> None:
    async with Fleet(2, answer=lambda index: hello, tell_connection=True) as fleet:
        for connection, server in enumerate(fleet, start=1):
            async with Peer(server.port) as peer:
                for request in (1, 2):
                    await peer.send(post("/"))
                    told = f"vary: Origin\r\nx-fleet-connection: {connection}\r\nx-fleet-request: {request}\r\n\r\n"
                    assert told.encode() in await peer.response()


async def test_nothing_is_told_unless_asked_for() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert b"x-fleet" not in await peer.response()


async def test_a_websocket_where_none_was_asked_for_is_a_500() -> None:
    async def talk(end: WebSocketEnd) -> None:
        raise AssertionError("there is no websocket")

    async def grant(request: ApiRequest) -> WebSocket:
        return WebSocket(talk)

    async with Fleet(1, answer=lambda index: grant) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/"))
        assert (await peer.to_the_end()).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


async def test_any_other_upgrade_is_ignored() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(2):
            await peer.send(get("/", "connection: upgrade, http2-settings", "upgrade: h2c"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_goes_while_its_body_is_awaited_is_in_the_ledger() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet:
        async with Peer(fleet[0].port) as peer:
            await peer.send(post("/upload", body=b"x" * 1000)[:-1])
            await fleet.ledger.wait_for(in_flight=1)
        await fleet.ledger.wait_for(in_flight=0, open_now=0)
        (request,) = fleet.ledger.request_records()
        assert (request.path, request.outcome, request.status) == ("/upload", "client_gone", None)
        assert witness.calls == []


async def test_the_record_of_a_request_says_what_was_asked_and_how_it_went() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/a?b"))
        await peer.response()
        await fleet.ledger.wait_for(requests=1, in_flight=0)
        (request,) = fleet.ledger.request_records()
        assert (request.number, request.server, request.connection, request.on_connection) == (1, 0, 1, 1)
        assert (request.method, request.path, request.status) == ("POST", "/a", 200)
        assert (request.ending, request.outcome) == ("split", "complete")
        assert request.ended_at is not None
        assert request.ended_at >= request.arrived_at


@pytest.mark.parametrize("answer", [hello, streamed(DONE)])
async def test_a_turn_that_is_over_leaves_nothing_for_the_garbage_collector(answer: Answer) -> None:
    """It once referred to itself, and each request cost a page fault before the collector came."""
    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        gc.disable()
        try:
            for number in range(1, 4):
                await peer.send(post("/"))
                await fleet.ledger.wait_for(requests=number, in_flight=0)
            assert not [each for each in gc.get_objects() if isinstance(each, Turn)]
        finally:
            gc.enable()
