"""Each fault of the head: its bytes on a raw socket, and what aiohttp's client makes of them."""

from __future__ import annotations

import aiohttp
import pytest
from answers import Witness
from faulty import BODY, EVENTS, UNARY_HEAD, aiohttp_sees, asking, last_lines, raw_bytes, stream, unary
from raw_http import Peer, dated, post

from fleetsim import Answer, Fleet

HEAD = UNARY_HEAD % 10
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])


async def test_a_delay_holds_back_the_first_byte() -> None:
    async with asking("delay;seconds=1h") as (fleet, peer):
        await fleet.ledger.wait_for(in_flight=1)
        assert peer.is_quiet()
    assert await raw_bytes("delay;seconds=1ms", until=BODY) == HEAD + BODY


async def test_delays_add_up() -> None:
    async with asking("delay;seconds=2ms, delay;seconds=3ms") as (fleet, peer):
        await peer.response()
        await fleet.ledger.wait_for(in_flight=0)
        (request,) = fleet.ledger.request_records()
        assert request.ended_at is not None
        assert request.ended_at - request.arrived_at >= 0.005 - 0.001
        assert (request.faults, request.ending) == (("delay", "delay"), "split")


async def test_a_delay_computes_no_answer_before_it_is_over() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "x-fleet-fault: delay;seconds=1h"))
        await fleet.ledger.wait_for(in_flight=1)
        peer.close()
        assert (await last_lines(fleet))[1].outcome == "client_gone"
        assert witness.calls == []


@BOTH
async def test_aiohttp_waits_for_a_delay_as_long_as_it_may(answer: Answer) -> None:
    assert await aiohttp_sees("delay;seconds=5ms", answer) == (200, BODY if answer is unary else EVENTS)
    with pytest.raises(aiohttp.SocketTimeoutError):
        await aiohttp_sees("delay;seconds=1h", answer, sock_read=0.05)


async def test_a_dribbled_head_waits_behind_each_piece_and_is_whole() -> None:
    async with asking("head_dribble;size=8;seconds=1h") as (fleet, peer):
        assert await peer.until(b"HTTP/1.1") == b"HTTP/1.1"
        assert peer.is_quiet()
        assert fleet.ledger.in_flight == 1
    assert await raw_bytes("head_dribble;seconds=0", until=BODY) == HEAD + BODY


@BOTH
async def test_aiohttp_reads_a_dribbled_head(answer: Answer) -> None:
    expected = (200, BODY if answer is unary else EVENTS)
    assert await aiohttp_sees("head_dribble;size=7;seconds=100us", answer) == expected


@pytest.mark.parametrize(("parameter", "part"), [(";after=0", 0), (";after=9", 9), ("", None), (";after=9999", -1)])
@pytest.mark.parametrize("fault", ["head_fin", "head_rst"])
async def test_a_head_is_cut_where_it_is_told(fault: str, parameter: str, part: int | None) -> None:
    async with asking(fault + parameter) as (fleet, peer):
        arrived = await (peer.to_the_end() if fault == "head_fin" else peer.to_the_reset())
        head = HEAD.replace(b"<date>", b"Thu, 01 Jan 1970 00:00:00 GMT")
        wanted = head[: len(head) // 2 if part is None else part]
        assert len(arrived) == len(wanted)
        assert dated(arrived[:20]) == wanted[:20]
        connection, request = await last_lines(fleet)
        assert connection.ended_how == fault.removeprefix("head_")
        assert (connection.ended_by, request.outcome) == ("server", "cut")


@BOTH
async def test_aiohttp_takes_a_fin_in_the_head_for_a_disconnect(answer: Answer) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await aiohttp_sees("head_fin", answer)


@BOTH
async def test_aiohttp_takes_a_reset_in_the_head_for_a_reset(answer: Answer) -> None:
    with pytest.raises(aiohttp.ClientOSError, match=r"104|reset"):
        await aiohttp_sees("head_rst", answer)


@pytest.mark.parametrize("fault", ["head_fin", "head_rst", "before_head"])
async def test_aiohttp_sends_a_get_once_more(fault: str) -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await session.get(fleet[0].url, headers={"X-Fleet-Fault": fault})
        await fleet.ledger.wait_for(open_now=0)
        assert fleet.ledger.requests == 2


async def test_a_garbage_status_line_stands_before_a_good_rest() -> None:
    assert await raw_bytes("garbage_status", until=BODY) == HEAD.replace(b"HTTP/1.1 200 OK", b"garbage") + BODY


async def test_a_long_header_is_the_last_but_framing() -> None:
    expected = HEAD.replace(b"Origin\r\n\r\n", b"Origin\r\nx-long: aaaaaaa\r\n\r\n") + BODY
    assert await raw_bytes("long_header;size=7", until=BODY) == expected


async def test_a_bad_header_has_no_colon() -> None:
    expected = HEAD.replace(b"Origin\r\n\r\n", b"Origin\r\nnot a header\r\n\r\n") + BODY
    assert await raw_bytes("bad_header", until=BODY) == expected


@BOTH
@pytest.mark.parametrize("fault", ["garbage_status", "long_header", "bad_header"])
async def test_aiohttp_refuses_a_head_it_cannot_read(fault: str, answer: Answer) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await aiohttp_sees(fault, answer)
    assert caught.value.status == 400


async def test_aiohttp_takes_a_header_that_is_not_too_long() -> None:
    assert await aiohttp_sees("long_header;size=8000") == (200, BODY)


async def test_informational_responses_come_first() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    assert await raw_bytes("informational;times=2", until=BODY) == hint * 2 + HEAD + BODY


@BOTH
async def test_aiohttp_passes_over_informational_responses(answer: Answer) -> None:
    assert await aiohttp_sees("informational;times=3", answer) == (200, BODY if answer is unary else EVENTS)
