from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
from raw_http import dated

from fleetsim.wire import heads


def test_a_unary_head_has_uvicorns_order() -> None:
    assert dated(heads.head(404, length=22, content_type="application/json")) == (
        b"HTTP/1.1 404 Not Found\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-length: 22\r\n"
        b"content-type: application/json\r\nvary: Origin\r\n\r\n"
    )


def test_the_applications_own_headers_come_first_and_in_lower_case() -> None:
    head = heads.head(405, length=0, content_type=None, headers=(("Allow", "POST"), ("X-Two", "2")))
    assert dated(head) == (
        b"HTTP/1.1 405 Method Not Allowed\r\ndate: <date>\r\nserver: uvicorn\r\nallow: POST\r\nx-two: 2\r\n"
        b"content-length: 0\r\nvary: Origin\r\n\r\n"
    )


def test_close_comes_before_the_transfer_encoding_and_after_everything_else() -> None:
    head = heads.head(200, extra=b"x-fleet-request: 1\r\n", close=True, chunked=True)
    assert dated(head) == (
        b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"vary: Origin\r\nx-fleet-request: 1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )


def test_what_is_off_is_left_out() -> None:
    assert dated(heads.head(204, content_type=None, vary=False)) == (
        b"HTTP/1.1 204 No Content\r\ndate: <date>\r\nserver: uvicorn\r\n\r\n"
    )


def test_a_percent_sign_is_a_percent_sign() -> None:
    head = heads.head(307, content_type="text/x%b", headers=(("location", "/a%20b"),))
    assert b"\r\nlocation: /a%20b\r\ncontent-type: text/x%b\r\n" in head


def test_a_status_without_a_name_has_an_empty_one() -> None:
    assert heads.head(599, length=0).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize(("data", "framed"), [(b"x", b"1\r\nx\r\n"), (b"y" * 26, b"1a\r\n" + b"y" * 26 + b"\r\n")])
def test_a_chunk_says_its_length_in_hexadecimal(data: bytes, framed: bytes) -> None:
    assert heads.chunk(data) == framed


def test_the_answer_to_nonsense_is_uvicorns() -> None:
    assert dated(heads.invalid_request()) == (
        b"HTTP/1.1 400 Bad Request\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: 30\r\nconnection: close\r\n\r\nInvalid HTTP request received."
    )


def test_the_date_is_that_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    for second in (1_000_000_000.2, 1_000_000_000.9, 1_000_000_001.0):
        monkeypatch.setattr("time.time", lambda second=second: second)
        line = heads.head(200).split(b"\r\n")[1].decode()
        assert parsedate_to_datetime(line.removeprefix("date: ")).timestamp() == int(second)
