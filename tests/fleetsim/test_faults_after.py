"""Each fault that waits for the response to be over: bytes and ends, and what aiohttp's client makes of them."""

from __future__ import annotations

import aiohttp
import pytest
from answers import Witness
from faulty import BODY, EVENTS, UNARY_HEAD, aiohttp_sees, asking, last_lines, raw_bytes, stream, unary
from raw_http import Peer, dated, post

from fleetsim import Answer, Fleet

HEAD = UNARY_HEAD % 10
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])
ERROR = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'


@pytest.mark.parametrize("fault", ["idle_fin;seconds=1ms", "idle_rst;seconds=20ms"])
async def test_an_idle_connection_ends_after_a_whole_response(fault: str) -> None:
    async with asking(fault) as (fleet, peer):
        assert dated(await peer.until(BODY)) == HEAD + BODY
        assert await (peer.to_the_end() if "fin" in fault else peer.to_the_reset()) == b""
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how) == ("server", fault[5:8])
        assert (request.outcome, request.ending, request.faults) == ("complete", "split", (fault[:8],))


@pytest.mark.parametrize("fault", ["idle_fin", "idle_rst"])
async def test_a_request_that_is_there_already_is_served_and_not_struck(fault: str) -> None:
    """The second server's connection is the clock: it is struck later than the first would have been."""
    witness = Witness()
    fleet = Fleet(2, answer=lambda index: unary if index else witness)
    async with fleet, Peer(fleet[0].port) as peer, Peer(fleet[1].port) as clock:
        await peer.send(post("/", f"x-fleet-fault: {fault};seconds=1ms, unavailable") + post("/"))
        await witness.begun.wait()
        await clock.send(post("/", f"x-fleet-fault: {fault};seconds=20ms"))
        await (clock.to_the_end() if fault == "idle_fin" else clock.to_the_reset())
        assert fleet[0].ledger.open_now == 1
        witness.let_go.set()
        assert (await peer.response()).startswith(b"HTTP/1.1 503 ")
        assert (await peer.response()).endswith(b"{}")
        assert [each.faults for each in fleet.ledger.request_records()][:2] == [(fault, "unavailable"), ()]


@pytest.mark.parametrize("fault", ["idle_fin", "idle_rst"])
async def test_the_first_byte_of_a_request_calls_off_the_end(fault: str) -> None:
    async with asking(f"{fault};seconds=1h") as (fleet, peer):
        await peer.response()
        await fleet.ledger.wait_for(in_flight=0)
        (connection,) = fleet[0]._bound()._alive
        assert len(connection._timers) == 1
        await peer.send(post("/"))
        await peer.response()
        assert connection._timers == []


@pytest.mark.parametrize("fault", ["idle_fin;seconds=0", "idle_rst;seconds=20ms"])
async def test_aiohttp_opens_a_new_connection_after_one_that_ended_idle(fault: str) -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, aiohttp.ClientSession() as session:
        async with session.post(fleet[0].url, headers={"X-Fleet-Fault": fault}) as response:
            assert await response.read() == BODY
        await fleet.ledger.wait_for(open_now=0)
        async with session.get(fleet[0].url) as response:
            assert await response.read() == BODY
        assert fleet.ledger.reused == 0


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_stale_answers_the_next_request_with_an_end(how: str) -> None:
    async with asking(f"stale;how={how}") as (fleet, peer):
        assert dated(await peer.response()) == HEAD + BODY
        await fleet.ledger.wait_for(in_flight=0)
        assert peer.is_quiet()
        await peer.send(post("/"))
        assert await (peer.to_the_end() if how == "fin" else peer.to_the_reset()) == b""
        connection, _ = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how, connection.requests) == ("server", how, 1)


async def test_stale_ends_a_connection_whose_next_request_is_there_already() -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "x-fleet-fault: stale") + post("/"))
        assert dated(await peer.to_the_end()) == HEAD + BODY
        assert (await last_lines(fleet))[0].requests == 1


@pytest.mark.parametrize(("how", "kind"), [("fin", aiohttp.ServerDisconnectedError), ("rst", aiohttp.ClientOSError)])
async def test_aiohttp_loses_a_post_on_a_stale_connection_and_repeats_a_get(how: str, kind: type[Exception]) -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, aiohttp.ClientSession() as session:
        headers = {"X-Fleet-Fault": f"stale;how={how}"}
        await (await session.post(fleet[0].url, headers=headers)).read()
        with pytest.raises(kind):
            await session.post(fleet[0].url)
        await (await session.post(fleet[0].url, headers=headers)).read()
        async with session.get(fleet[0].url) as response:
            assert await response.read() == BODY
        assert fleet.ledger.requests == 3


@BOTH
async def test_the_nth_response_of_a_connection_is_its_last(answer: Answer) -> None:
    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        mark = BODY if answer is unary else b"0\r\n\r\n"
        await peer.send(post("/", "x-fleet-fault: close_after;requests=2"))
        assert b"connection: close" not in await peer.until(mark)
        await peer.send(post("/", "x-fleet-fault: close_after;requests=2"))
        last = await peer.to_the_end()
        assert b"\r\nvary: Origin\r\nconnection: close\r\n" in last
        assert last.endswith(mark)


@BOTH
async def test_aiohttp_opens_a_connection_for_every_n_requests(answer: Answer) -> None:
    async with Fleet(1, answer=lambda index: answer) as fleet, aiohttp.ClientSession() as session:
        for _ in range(6):
            async with session.post(fleet[0].url, headers={"X-Fleet-Fault": "close_after;requests=2"}) as response:
                assert await response.read() == (BODY if answer is unary else EVENTS)
        assert (fleet.ledger.opened, fleet.ledger.reused) == (3, 3)


async def test_an_error_then_a_fin_without_a_word() -> None:
    async with asking("error_then_fin") as (fleet, peer):
        assert dated(await peer.to_the_end()) == (
            b"HTTP/1.1 500 Internal Server Error\r\ndate: <date>\r\nserver: uvicorn\r\n"
            b"content-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (len(ERROR), ERROR)
        )
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how, request.status) == ("server", "fin", 500)


@BOTH
async def test_aiohttp_gets_the_error_whole(answer: Answer) -> None:
    assert await aiohttp_sees("error_then_fin", answer) == (500, ERROR)


async def test_a_half_closed_connection_takes_requests_and_answers_none() -> None:
    witness = Witness()
    witness.let_go.set()
    async with asking("half_close", witness) as (fleet, peer):
        assert (await peer.to_the_end()).endswith(b"{}")
        await peer.send(post("/"))
        assert fleet.ledger.open_now == 1
        peer.close()
        connection, _ = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how, connection.requests) == ("server", "fin", 1)
        assert len(witness.calls) == 1


@BOTH
async def test_aiohttp_leaves_a_half_closed_connection(answer: Answer) -> None:
    async with Fleet(1, answer=lambda index: answer) as fleet, aiohttp.ClientSession() as session:
        async with session.post(fleet[0].url, headers={"X-Fleet-Fault": "half_close"}) as response:
            await response.read()
        await fleet.ledger.wait_for(open_now=0)
        async with session.post(fleet[0].url) as response:
            assert await response.read() == (BODY if answer is unary else EVENTS)
        assert fleet.ledger.reused == 0


async def test_close_is_an_ending_and_needs_a_rule_to_come_now_and_then() -> None:
    assert (await raw_bytes("close")).endswith(b"connection: close\r\n\r\n" + BODY)
