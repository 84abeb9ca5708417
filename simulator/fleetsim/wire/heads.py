"""The bytes of a response's head, as uvicorn and vLLM's middlewares write them.

Lower-case names in this order: `date`, `server`, the application's own, `content-length`, `content-type`, `vary`,
`connection`, `transfer-encoding` (uvicorn 0.54 protocols/http/httptools_impl.py; starlette 1.10 responses.py and
middleware/cors.py).
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

__all__ = ["CONTINUE", "TERMINATOR", "chunk", "head", "invalid_request"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TERMINATOR = b"0\r\n\r\n"

_INVALID = b"Invalid HTTP request received."
_EVENT_STREAM = "text/event-stream; charset=utf-8"

Headers = tuple[tuple[str, str], ...]


def chunk(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk."""
    return _size_line(len(data)) + data + b"\r\n"


def head(
    status: int,
    *,
    length: int | None = None,
    content_type: str | None = _EVENT_STREAM,
    headers: Headers = (),
    vary: bool = True,
    extra: bytes = b"",
    close: bool = False,
    chunked: bool = False,
) -> bytes:
    """Return a whole head, its empty line included. `length=None` announces none; `extra` is whole header lines."""
    return _template(int(time.time()), status, content_type, vary, close, chunked) % (
        _lines(headers) if headers else b"",
        b"" if length is None else b"content-length: %d\r\n" % length,
        extra,
    )


def invalid_request() -> bytes:
    """Return the whole answer to what is not HTTP (uvicorn `send_400_response`)."""
    head_ = head(
        400,
        content_type="text/plain; charset=utf-8",
        vary=False,
        extra=b"content-length: %d\r\n" % len(_INVALID),
        close=True,
    )
    return head_ + _INVALID


@lru_cache(maxsize=1_024)
def _size_line(length: int) -> bytes:
    return b"%x\r\n" % length


@lru_cache(maxsize=600)
def _template(second: int, status: int, content_type: str | None, vary: bool, close: bool, chunked: bool) -> bytes:
    """A head with places for the application's own lines, the length's line and extra lines."""
    return b"%bdate: %b\r\nserver: uvicorn\r\n%%b%%b%b%b%%b%b%b\r\n" % (
        _status_line(status),
        formatdate(second, usegmt=True).encode(),
        _lines((("content-type", content_type),)).replace(b"%", b"%%") if content_type else b"",
        b"vary: Origin\r\n" if vary else b"",
        b"connection: close\r\n" if close else b"",
        b"transfer-encoding: chunked\r\n" if chunked else b"",
    )


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def _lines(headers: Headers) -> bytes:
    return "".join(f"{name.lower()}: {value}\r\n" for name, value in headers).encode("latin-1")
