"""Each fault that answers in place of the server: its bytes, and what aiohttp's client makes of them."""

from __future__ import annotations

import aiohttp
import pytest
from answers import Witness
from faulty import aiohttp_sees, asking, raw_bytes, stream
from raw_http import post

from fleetsim import FaultError, Fleet, parse_fault

CONTEXT = (
    b"This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens, "
    b"which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
    b"(parameter=input_tokens, value=4097)"
)
BUSY = (
    b"The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
)
SCALING = b'{"error":"The model is currently scaling. Please try again later."}'
UNKNOWN = b"The model `unknown` does not exist."


def error(message: bytes, kind: bytes, code: int, param: bytes = b"null") -> bytes:
    return b'{"error":{"message":"%b","type":"%b","param":%b,"code":%d}}' % (message, kind, param, code)


JSON, TEXT = b"content-type: application/json\r\n", b"content-type: text/plain; charset=utf-8\r\n"
CASES: list[tuple[str, bytes, bytes, bytes]] = [
    ("bad_request", b"400 Bad Request", JSON, error(CONTEXT, b"BadRequestError", 400, b'"input_tokens"')),
    ("unauthorized", b"401 Unauthorized", JSON, b'{"error":"Unauthorized"}'),
    ("not_found", b"404 Not Found", JSON, error(UNKNOWN, b"NotFoundError", 404, b'"model"')),
    ("server_error", b"500 Internal Server Error", JSON, error(b"Internal server error", b"InternalServerError", 500)),
    ("unavailable", b"503 Service Unavailable", JSON, error(BUSY, b"Service Unavailable", 503)),
    ("plain_error", b"502 Bad Gateway", TEXT, b"Bad Gateway"),
    ("plain_error;status=599", b"599 ", TEXT, b"Error"),
    ("string_error", b"503 Service Unavailable", JSON, SCALING),
    ("string_error;status=500", b"500 Internal Server Error", JSON, SCALING),
    ("detail_error", b"404 Not Found", JSON, b'{"detail":"Not Found"}'),
    ("empty_error", b"500 Internal Server Error", b"", b""),
    ("empty_error;status=504", b"504 Gateway Timeout", b"", b""),
]
EACH = pytest.mark.parametrize(("fault", "status", "kind", "body"), CASES, ids=[case[0] for case in CASES])


def response(status: bytes, kind: bytes, body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\ndate: <date>\r\nserver: uvicorn\r\n%bcontent-length: %d\r\n%bvary: Origin\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        kind,
        body,
    )


@EACH
async def test_the_answer_has_these_bytes(fault: str, status: bytes, kind: bytes, body: bytes) -> None:
    assert await raw_bytes(fault, until=b"\r\n\r\n" + body) == response(status, kind, body)


@EACH
async def test_aiohttp_gets_status_and_body_and_no_error(fault: str, status: bytes, kind: bytes, body: bytes) -> None:
    assert await aiohttp_sees(fault, stream) == (int(status.split()[0]), body)


@pytest.mark.parametrize(
    ("written", "seconds"), [("", b"1"), (";retry_after=1500ms", b"2"), (";retry_after=2m", b"120")]
)
async def test_a_rate_limit_tells_when_to_come_again(written: str, seconds: bytes) -> None:
    body = error(b"Too many requests.", b"RateLimitError", 429)
    told = b"retry-after: %b\r\n" % seconds
    expected = response(b"429 Too Many Requests", JSON, body, told)
    assert await raw_bytes(f"rate_limited{written}", until=body) == expected
    assert await aiohttp_sees(f"rate_limited{written}") == (429, body)


async def test_aiohttp_cannot_read_plain_text_as_json() -> None:
    headers = {"X-Fleet-Fault": "plain_error"}
    async with (
        Fleet(1, answer=lambda index: stream) as fleet,
        aiohttp.ClientSession(headers=headers) as session,
        session.post(fleet[0].url) as answer,
    ):
        with pytest.raises(aiohttp.ContentTypeError):
            await answer.json()


async def test_no_answer_is_computed_and_the_connection_is_kept() -> None:
    witness = Witness()
    async with asking("unavailable", witness) as (fleet, peer):
        await peer.response()
        await peer.send(post("/", "x-fleet-fault: server_error"))
        await peer.response()
        assert witness.calls == []
        assert fleet.ledger.open_now == 1
        await fleet.ledger.wait_for(in_flight=0)
        told = [(record.status, record.faults) for record in fleet.ledger.request_records()]
        assert told == [(503, ("unavailable",)), (500, ("server_error",))]


async def test_the_last_status_answers_and_an_ending_may_cut_it() -> None:
    cut = await raw_bytes("unavailable, server_error, truncated;after=8")
    assert cut.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert cut.endswith(b'\r\n\r\n{"error"')


@pytest.mark.parametrize("status", [399, 600, "ok"])
def test_a_status_that_is_no_error_is_refused(status: object) -> None:
    with pytest.raises(FaultError, match="status: expected a whole number of HTTP status from 400 to 599"):
        parse_fault(f"plain_error;status={status}")
