"""Each fault of server-sent events: its bytes on a raw socket, and what aiohttp's client makes of them."""

from __future__ import annotations

import json

import aiohttp
import pytest
from answers import DONE, streamed
from faulty import BODY, UNARY_HEAD, aiohttp_sees, asking, raw_bytes
from raw_http import dated

from fleetsim import Answer, Fleet

HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\nvary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
FIRST = 'data: {"text":"größer","finish_reason":null}\n\n'.encode()
LAST = b'data: {"text":"!","finish_reason":"stop"}\n\n'
ERROR = (
    b'data: {"error":{"message":"The server had an error while processing your request.",'
    b'"type":"InternalServerError","param":null,"code":500}}\n\n'
)
COMMENT = b": keep-alive\n\n"

answer: Answer = streamed(FIRST, LAST, DONE)

HALF = FIRST.index("ö".encode()) + 1
UNFINISHED = LAST.replace(b'"stop"', b"null")
CASES: list[tuple[str, list[bytes]]] = [
    ("no_done", [FIRST, LAST]),
    ("no_finish", [FIRST, UNFINISHED, DONE]),
    ("error_event", [FIRST, ERROR, DONE]),
    ("error_event;after=0", [ERROR, DONE]),
    ("error_event;after=9", [FIRST, LAST, ERROR, DONE]),
    ("bad_json", [b'data: {"text":"gr\xc3\xb6\xc3\x9fer","\n\n', LAST, DONE]),
    ("bad_json;event=2", [FIRST, b'data: {"text":"!","fini\n\n', DONE]),
    ("bad_json;event=9", [FIRST, LAST, DONE]),
    ("split_event", [FIRST[:HALF], FIRST[HALF:], LAST[:21], LAST[21:], DONE[:7], DONE[7:]]),
    ("merged_events", [FIRST + LAST + DONE]),
    ("merged_events;size=2", [FIRST + LAST, DONE]),
    ("comments", [COMMENT, FIRST, COMMENT, LAST, COMMENT, DONE]),
    ("comments;times=2", [COMMENT, COMMENT, FIRST, COMMENT, COMMENT, LAST, COMMENT, COMMENT, DONE]),
    ("no_space", [each.replace(b"data: ", b"data:") for each in (FIRST, LAST, DONE)]),
]
NAMES = pytest.mark.parametrize("fault", sorted({fault.partition(";")[0] for fault, _ in CASES}))


@pytest.mark.parametrize(("fault", "events"), CASES, ids=[fault for fault, _ in CASES])
async def test_a_stream_leaves_in_these_chunks(fault: str, events: list[bytes]) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    assert await raw_bytes(fault, answer, until=END) == HEAD + chunks + END


@pytest.mark.parametrize(("fault", "events"), CASES, ids=[fault for fault, _ in CASES])
async def test_aiohttp_reads_them_all_and_sees_no_error(fault: str, events: list[bytes]) -> None:
    assert await aiohttp_sees(fault, answer) == (200, b"".join(events))


@NAMES
async def test_the_connection_is_kept(fault: str) -> None:
    async with Fleet(1, answer=lambda index: answer) as fleet, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(fleet[0].url, headers={"X-Fleet-Fault": fault}) as response:
                await response.read()
        assert (fleet.ledger.opened, fleet.ledger.reused) == (1, 1)
        assert {record.outcome for record in fleet.ledger.request_records()} <= {"complete", None}


@NAMES
async def test_a_unary_answer_is_left_alone(fault: str) -> None:
    assert await raw_bytes(fault, until=BODY) == UNARY_HEAD % len(BODY) + BODY
    assert await aiohttp_sees(fault) == (200, BODY)


async def test_the_halves_of_an_event_leave_apart() -> None:
    async with asking("split_event;seconds=1h", answer) as (_, peer):
        half = HEAD + b"%x\r\n%b\r\n" % (HALF, FIRST[:HALF])
        assert dated(await peer.until(half[-12:])) == half
        assert peer.is_quiet()
        with pytest.raises(UnicodeDecodeError):
            FIRST[:HALF].decode()


async def test_an_event_with_bad_json_cannot_be_parsed() -> None:
    _, body = await aiohttp_sees("bad_json", answer)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body.split(b"\n\n")[0].removeprefix(b"data: "))
