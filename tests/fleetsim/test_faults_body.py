"""Each fault of the body: its bytes on a raw socket, and what aiohttp's client makes of them."""

from __future__ import annotations

import aiohttp
import pytest
from faulty import BODY, EVENTS, UNARY_HEAD, aiohttp_sees, asking, last_lines, raw_bytes, stream, unary
from raw_http import Peer, dated, get, post

from fleetsim import Answer, Fleet

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\n"
    b"content-length: %d\r\ncontent-type: text/event-stream; charset=utf-8\r\nvary: Origin\r\n\r\n"
)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\n"
    b"content-type: application/json\r\nvary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
)
CHUNKED_STREAM = CHUNKED.replace(b"application/json", b"text/event-stream; charset=utf-8")
FRAMED = b"9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n"
SECOND = UNARY_HEAD % 20 + b'{"unsolicited":true}'
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])


@pytest.mark.parametrize(
    ("answer", "bytes_"),
    [(unary, UNARY_HEAD % 13 + BODY), (stream, STREAM_HEAD % (len(EVENTS) + 3) + EVENTS)],
    ids=["unary", "stream"],
)
async def test_a_length_too_long_is_followed_by_silence(answer: Answer, bytes_: bytes) -> None:
    async with asking("length_too_long;by=3", answer) as (fleet, peer):
        assert dated(await peer.until(bytes_[-10:])) == bytes_
        await fleet.ledger.wait_for(in_flight=0)
        assert peer.is_quiet()
        assert fleet.ledger.open_now == 1


@BOTH
async def test_aiohttp_waits_for_what_a_length_too_long_announces(answer: Answer) -> None:
    with pytest.raises(aiohttp.SocketTimeoutError):
        await aiohttp_sees("length_too_long", answer, sock_read=0.05)
    with pytest.raises(aiohttp.ClientPayloadError):
        await aiohttp_sees("length_too_long", answer, keepalive_timeout=0.05)


@pytest.mark.parametrize(
    ("answer", "bytes_"),
    [(unary, UNARY_HEAD % 7 + BODY), (stream, STREAM_HEAD % (len(EVENTS) - 3) + EVENTS)],
    ids=["unary", "stream"],
)
async def test_a_length_too_short_leaves_a_surplus(answer: Answer, bytes_: bytes) -> None:
    assert await raw_bytes("length_too_short;by=3", answer, until=bytes_[-10:]) == bytes_


async def test_a_length_is_never_below_nothing() -> None:
    assert await raw_bytes("length_too_short;by=1000", until=BODY) == UNARY_HEAD % 0 + BODY


@BOTH
async def test_aiohttp_takes_a_surplus_for_a_bad_status_line(answer: Answer) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await aiohttp_sees("length_too_short", answer)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("answer", "bytes_"),
    [(unary, CHUNKED + b"a\r\n" + BODY + b"\r\n"), (stream, CHUNKED_STREAM + FRAMED)],
    ids=["unary", "stream"],
)
async def test_without_a_last_chunk_the_body_is_whole_and_then_a_fin(answer: Answer, bytes_: bytes) -> None:
    async with asking("no_last_chunk", answer) as (fleet, peer):
        assert dated(await peer.to_the_end()) == bytes_
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how, request.outcome) == ("server", "fin", "cut")
        assert (request.ending, request.faults) == ("no_last_chunk", ("no_last_chunk",))


@BOTH
async def test_aiohttp_raises_without_a_last_chunk(answer: Answer) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await aiohttp_sees("no_last_chunk", answer)


@pytest.mark.parametrize(
    ("answer", "bytes_"),
    [(unary, CHUNKED + b"oops\r\n" + BODY + b"\r\n"), (stream, CHUNKED_STREAM + b"oops\r\n" + EVENTS + b"\r\n")],
    ids=["unary", "stream"],
)
async def test_a_bad_chunk_size_is_a_word(answer: Answer, bytes_: bytes) -> None:
    assert await raw_bytes("bad_chunk_size", answer) == bytes_


@BOTH
async def test_aiohttp_refuses_a_bad_chunk_size(answer: Answer) -> None:
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await aiohttp_sees("bad_chunk_size", answer)


async def test_a_stall_lies_where_it_is_told_and_no_byte_is_lost() -> None:
    async with asking("stall;seconds=1h;after=4") as (fleet, peer):
        assert dated(await peer.until(BODY[:4])) == UNARY_HEAD % 10 + BODY[:4]
        assert peer.is_quiet()
        assert fleet.ledger.in_flight == 1
    async with asking("stall;seconds=1ms;after=4", stream) as (fleet, peer):
        assert dated(await peer.until(b"0\r\n\r\n")) == CHUNKED_STREAM + FRAMED + b"0\r\n\r\n"


async def test_stalls_add_up() -> None:
    async with asking("stall;seconds=1ms;after=7, stall;seconds=1h;after=7, stall;seconds=1ms;after=2") as (
        fleet,
        peer,
    ):
        assert dated(await peer.until(BODY[:7])) == UNARY_HEAD % 10 + BODY[:7]
        assert peer.is_quiet()
        assert fleet.ledger.request_records()[0].faults == ("stall", "stall", "stall")
    async with asking("stall;seconds=2ms, stall;seconds=3ms") as (fleet, peer):
        assert (await peer.response()).endswith(BODY)
        await fleet.ledger.wait_for(in_flight=0)
        (request,) = fleet.ledger.request_records()
        assert request.ended_at is not None
        assert request.ended_at - request.arrived_at >= 0.005 - 0.001
        assert request.ending == "stall"


async def test_a_stall_beside_another_ending_comes_before_its_first_byte() -> None:
    async with asking("truncated, stall;seconds=1h;after=7") as (fleet, peer):
        await fleet.ledger.wait_for(in_flight=1)
        assert peer.is_quiet()
    assert (await raw_bytes("stall;seconds=1ms;after=7, truncated")).endswith(b"\r\n\r\n" + BODY[:5])


@BOTH
async def test_aiohttp_lives_through_a_stall_unless_its_timeout_is_shorter(answer: Answer) -> None:
    body = BODY if answer is unary else EVENTS
    assert await aiohttp_sees("stall;seconds=5ms;after=3", answer) == (200, body)
    with pytest.raises(aiohttp.SocketTimeoutError):
        await aiohttp_sees("stall;seconds=1h;after=3", answer, sock_read=0.05)


async def test_a_hang_lasts_until_the_client_goes() -> None:
    async with asking("hang;after=4") as (fleet, peer):
        assert dated(await peer.until(BODY[:4])) == UNARY_HEAD % 10 + BODY[:4]
        assert peer.is_quiet()
        peer.close()
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, request.outcome) == ("client", "client_gone")


@BOTH
async def test_aiohttp_times_out_in_a_hang(answer: Answer) -> None:
    with pytest.raises(aiohttp.SocketTimeoutError):
        await aiohttp_sees("hang", answer, sock_read=0.05)


@pytest.mark.parametrize(
    ("answer", "bytes_"),
    [
        (unary, CHUNKED + b"a\r\n" + BODY + b"\r\n" + b"4\r\n    \r\n" * 3),
        (stream, CHUNKED_STREAM + FRAMED + b"6\r\n:\n\n:\n\n\r\n" * 3),
    ],
    ids=["unary", "stream"],
)
async def test_endless_goes_on_with_what_a_parser_passes_over(answer: Answer, bytes_: bytes) -> None:
    async with asking("endless;size=4;seconds=1ms", answer) as (_, peer):
        assert dated(await peer.until(bytes_[-30:])) == bytes_


@BOTH
async def test_no_read_timeout_ends_what_is_endless(answer: Answer) -> None:
    with pytest.raises(TimeoutError) as caught:
        await aiohttp_sees("endless;seconds=1ms", answer, sock_read=0.3, total=0.4)
    assert not isinstance(caught.value, aiohttp.SocketTimeoutError)


@BOTH
@pytest.mark.parametrize("fault", ["dribble;size=3;seconds=1ms", "bandwidth;rate=1000000"])
async def test_a_slow_body_is_whole(fault: str, answer: Answer) -> None:
    whole = UNARY_HEAD % 10 + BODY if answer is unary else CHUNKED_STREAM + FRAMED + b"0\r\n\r\n"
    assert await raw_bytes(fault, answer, until=whole[-12:]) == whole
    assert await aiohttp_sees(fault, answer) == (200, BODY if answer is unary else EVENTS)


@pytest.mark.parametrize(("fault", "first"), [("dribble;size=3;seconds=1h", 3), ("bandwidth;rate=1", 1)])
async def test_a_slow_body_waits_behind_each_piece(fault: str, first: int) -> None:
    async with asking(fault) as (fleet, peer):
        expected = UNARY_HEAD % 10 + BODY[:first]
        assert dated(await peer.until(expected[-10:])) == expected
        if fault.startswith("dribble"):
            assert peer.is_quiet()
        assert fleet.ledger.in_flight == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_wrong_encoding_is_a_word_in_the_head(encoding: str) -> None:
    claim = b"vary: Origin\r\ncontent-encoding: %b\r\n\r\n" % encoding.encode()
    expected = (UNARY_HEAD % 10).replace(b"vary: Origin\r\n\r\n", claim) + BODY
    assert await raw_bytes(f"wrong_encoding;encoding={encoding}", until=BODY) == expected


@BOTH
async def test_aiohttp_cannot_decode_a_wrong_encoding(answer: Answer) -> None:
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await aiohttp_sees("wrong_encoding", answer)


@pytest.mark.parametrize("seconds", ["0", "1ms"])
async def test_a_second_response_lies_behind_the_first(seconds: str) -> None:
    fault = f"second_response;seconds={seconds}"
    assert await raw_bytes(fault, until=SECOND[-20:]) == UNARY_HEAD % 10 + BODY + SECOND
    first = STREAM_HEAD % len(EVENTS) + EVENTS
    assert await raw_bytes(fault, stream, until=SECOND[-20:]) == first + SECOND


@BOTH
async def test_aiohttp_returns_the_first_of_two_responses_in_one_write_and_drops_the_connection(answer: Answer) -> None:
    body = BODY if answer is unary else EVENTS
    async with Fleet(1, answer=lambda index: answer) as fleet, aiohttp.ClientSession() as session:
        for headers in ({"X-Fleet-Fault": "second_response"}, {}):
            async with session.post(fleet[0].url, headers=headers) as response:
                assert await response.read() == body
        assert fleet.ledger.reused == 0


async def test_aiohttp_gives_a_second_response_that_comes_later_to_the_next_request() -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, aiohttp.ClientSession() as session:
        async with session.post(fleet[0].url, headers={"X-Fleet-Fault": "second_response;seconds=1ms"}) as response:
            assert await response.read() == BODY
        await fleet.ledger.wait_for(in_flight=0)
        async with session.post(fleet[0].url) as response:
            assert await response.read() == b'{"unsolicited":true}'


@pytest.mark.parametrize(
    "fault", ["length_too_long", "length_too_short", "no_last_chunk", "bad_chunk_size", "endless", "dribble", "stall"]
)
async def test_no_fault_sends_a_body_in_answer_to_head(fault: str) -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, Peer(fleet[0].port) as peer:
        headers = (f"x-fleet-fault: {fault}", "connection: close")
        await peer.send(get("/", *headers, method="HEAD"))
        assert (await peer.to_the_end()).partition(b"\r\n\r\n")[2] == b""


async def test_a_fault_that_is_over_leaves_the_connection_as_it_was() -> None:
    async with asking("stall;seconds=0") as (fleet, peer):
        await peer.response()
        await peer.send(post("/"))
        assert (await peer.response()).endswith(BODY)
        assert [record.faults for record in fleet.ledger.request_records()] == [("stall",), ()]
