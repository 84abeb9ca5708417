from __future__ import annotations

import pytest
from answers import DONE, always, hello, streamed
from raw_http import Peer, dated, get
from raw_websocket import HANDSHAKE, close, closed_with, masked, upgrade, websocket
from talking import Talker, echoing, granting

from fleetsim import ApiRequest, Fleet, Unary, WebSocket


async def test_the_answer_knows_that_a_websocket_is_asked_for() -> None:
    seen = []

    async def answer(request: ApiRequest) -> Unary:
        seen.append((request.path, request.websocket))
        return Unary(200, b"{}")

    async with Fleet(1, answer=lambda index: answer) as fleet:
        for request in (get("/a"), upgrade("/b")):
            async with Peer(fleet[0].port) as peer:
                await peer.send(request)
                await peer.until(b"{}")
    assert seen == [("/a", False), ("/b", True)]


async def test_any_other_answer_refuses_it_and_ends_the_connection() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/"))
        response = dated((await peer.to_the_end()).replace(b"\r\nDate: ", b"\r\ndate: "))
        assert response == (
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-type: application/json\r\ndate: <date>\r\n"
            b'Connection: close\r\n\r\n{"read":0}'
        )
        await fleet.ledger.wait_for(open_now=0)
        (request,) = fleet.ledger.request_records()
        assert (request.websocket, request.status, request.outcome) == (True, 200, "complete")
        assert fleet.ledger.websocket_records() == ()


async def test_a_refusal_leaves_in_one_write() -> None:
    """uvicorn's way, where it sends the head of any other response alone; a segment of loopback shows it."""
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/"))
        assert (await peer.some()).endswith(b'\r\n\r\n{"read":0}')
        assert fleet.ledger.request_records()[0].ending == "split"


async def test_a_refusal_may_be_a_stream() -> None:
    async with Fleet(1, answer=lambda index: streamed(b"data: 1\n\n", DONE)) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/"))
        response = await peer.to_the_end()
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert response.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_an_answer_that_fails_is_a_500_in_uvicorns_words() -> None:
    async def answer(request: ApiRequest) -> Unary:
        raise RuntimeError("no")

    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade())
        assert dated((await peer.to_the_end()).replace(b"\r\nDate: ", b"\r\ndate: ")) == (
            b"HTTP/1.1 500 Internal Server Error\r\ndate: <date>\r\nConnection: close\r\nContent-Length: 21\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n\r\nInternal Server Error"
        )


async def test_a_used_connection_may_become_a_websocket() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/version"))
        await peer.response()
        await peer.send(upgrade())
        assert dated(await peer.until(b"\r\n\r\n")) == HANDSHAKE
        assert fleet.ledger.reused == 1


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade() + masked(1, b"early"))
        assert (await peer.until(b"\x81\x05early")).startswith(b"HTTP/1.1 101 ")


async def test_a_client_that_closes_with_its_handshake_is_not_talked_to() -> None:
    talker = Talker()
    async with Fleet(1, answer=granting(talker)) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade() + close(1000))
        assert dated(await peer.to_the_end()) == HANDSHAKE + closed_with(1000)
        await fleet.ledger.wait_for(open_now=0, websockets=1)
        assert not talker.begun.is_set()


async def test_what_comes_while_a_hold_keeps_the_handshake_back_is_not_lost() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        with fleet.hold() as hold:
            await peer.send(upgrade())
            await hold.wait_for(in_flight=1)
            await peer.send(masked(1, b"early"))
            assert peer.is_quiet()
            assert fleet.ledger.websockets == 0
        assert (await peer.until(b"\x81\x05early")).startswith(b"HTTP/1.1 101 ")
        assert (fleet.ledger.in_flight, fleet.ledger.websockets_open) == (0, 1)


async def test_the_request_is_over_with_the_handshake_and_the_websocket_is_open() -> None:
    talker = Talker()
    async with Fleet(1, answer=granting(talker)) as fleet, websocket(fleet[0].port, "/talk?x=1"):
        await talker.begun.wait()
        (request,), (record,) = fleet.ledger.request_records(), fleet.ledger.websocket_records()
        assert (request.status, request.outcome, request.ending) == (101, "complete", "split")
        assert (record.request, record.connection, record.path, record.ended_at) == (1, 1, "/talk", None)
        assert (fleet.ledger.in_flight, fleet.ledger.websockets_open, fleet.ledger.open_now) == (0, 1, 1)


async def test_who_the_connection_and_request_are_is_told_in_the_handshake_too() -> None:
    async with Fleet(1, tell_connection=True) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade())
        assert (await peer.until(b"\r\n\r\n")).endswith(b"x-fleet-connection: 1\r\nx-fleet-request: 1\r\n\r\n")


@pytest.mark.parametrize(
    ("fault", "ends"),
    [("before_head", "fin"), ("before_head_rst", "rst"), ("head_fin;after=12", "fin"), ("truncated", "fin"),
     ("reset", "rst"), ("until_close", "fin"), ("never", None), ("delayed;seconds=1ms", None), ("eager", None),
     ("close", None), ("length_too_long", None), ("delay;seconds=1ms", None), ("stall;seconds=1ms", None)],
)  # fmt: skip
async def test_a_fault_of_responses_strikes_the_handshake(fault: str, ends: str | None) -> None:
    """To what writes it the 101 is a response without a body; cut short, the connection ends right behind it."""
    whole = fault not in ("before_head", "before_head_rst", "head_fin;after=12")
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/echo", f"x-fleet-fault: {fault}"))
        if whole:
            assert dated(await peer.until(b"\r\n\r\n")) == HANDSHAKE
        if ends is not None:
            rest = await (peer.to_the_end() if ends == "fin" else peer.to_the_reset())
            assert rest == (b"HTTP/1.1 101" if fault.startswith("head_fin") else b"")
            assert fleet.ledger.websockets == 0
        elif fault != "never":
            await peer.send(masked(1, b"hi"))
            assert await peer.until(b"hi") == b"\x81\x02hi"
            await peer.send(close(1000))
            assert await peer.to_the_end() == closed_with(1000)


@pytest.mark.parametrize(
    ("fault", "status"), [("unauthorized", b"401 Unauthorized"), ("unavailable", b"503 Service Unavailable")]
)
async def test_a_fault_that_answers_refuses_the_websocket(fault: str, status: bytes) -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/echo", f"x-fleet-fault: {fault}"))
        head, _, body = (await peer.to_the_end()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close" in head
        assert body.startswith(b'{"error":')


async def test_a_websocket_that_is_granted_while_the_server_drains_is_a_500() -> None:
    async with Fleet(1, answer=granting(echoing)) as fleet, Peer(fleet[0].port) as peer:
        with fleet.hold() as hold:
            await peer.send(upgrade())
            await hold.wait_for(in_flight=1)
            draining = fleet[0].drain()
            hold.release()
            await draining
        assert (await peer.to_the_end()).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


async def test_an_answer_that_is_always_a_websocket_serves_any_path() -> None:
    async with Fleet(1, answer=granting(echoing)) as fleet, websocket(fleet[0].port, "/any/path") as peer:
        await peer.send(masked(2, b"\x00"))
        assert await peer.until(b"\x82\x01\x00") == b"\x82\x01\x00"


async def test_a_websocket_is_no_answer_to_a_head_request() -> None:
    assert not isinstance(await always(Unary(200, b""))(ApiRequest("HEAD", "/", "", {}, b"")), WebSocket)
