"""The opening handshake of a websocket: what is asked, what is wrong with it, and the bytes of the answer.

As uvicorn 0.54 answers with websockets 17 (protocols/websockets/websockets_sansio_impl.py; websockets/server.py): the
head of a 101 has no `vary`, and its date and server come last and in lower case; a refusal that the application makes
keeps its headers in front of `Date` and `Connection`; one of the protocol's own has them behind.
"""

from __future__ import annotations

import base64
import binascii
import time
from email.utils import formatdate
from hashlib import sha1
from http import HTTPStatus

from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from fleetsim.exchange import Unary
from fleetsim.wire.deflate import Deflate

__all__ = ["PLAIN", "accept_key", "asks_for_websocket", "granted", "mistake", "refused"]

PLAIN = "text/plain; charset=utf-8"

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FAILED = "Failed to open a WebSocket connection"


def asks_for_websocket(message: RawRequestMessage) -> bool:
    """Whether a request with `Connection: upgrade` wants a websocket, and nothing else."""
    return message.headers.get("Upgrade", "").lower() == "websocket"


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept that belongs to a Sec-WebSocket-Key."""
    return base64.b64encode(sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()


def mistake(message: RawRequestMessage) -> Unary | None:
    """Return the answer to a handshake that cannot be; None for one that can."""
    if message.method != "GET":
        return _failed(405, f"unsupported HTTP method: {message.method}", headers=(("Allow", "GET"),))
    wrong = _wrong_key(message.headers) or _wrong_version(message.headers)
    return None if wrong is None else _failed(400, wrong)


def _wrong_key(headers: CIMultiDictProxy[str]) -> str | None:
    key, wrong = _only(headers, "Sec-WebSocket-Key")
    if wrong is not None:
        return wrong
    try:
        length = len(base64.b64decode(key.encode(), validate=True))
    except binascii.Error as error:
        return f"invalid Sec-WebSocket-Key header: {key}; {error}"
    return None if length == 16 else f"invalid Sec-WebSocket-Key header: {key}"


def _wrong_version(headers: CIMultiDictProxy[str]) -> str | None:
    version, wrong = _only(headers, "Sec-WebSocket-Version")
    if wrong is None and version != "13":
        return f"invalid Sec-WebSocket-Version header: {version}"
    return wrong


def _only(headers: CIMultiDictProxy[str], name: str) -> tuple[str, str | None]:
    values = headers.getall(name, [])
    if len(values) == 1:
        return values[0], None
    return "", f"invalid {name} header: multiple values" if values else f"missing {name} header"


def _failed(status: int, reason: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Unary:
    return Unary(status, f"{_FAILED}: {reason}.\n".encode(), PLAIN, headers)


def granted(accept: str, deflate: Deflate | None, *, extra: bytes = b"") -> bytes:
    """Return the head of a 101. `extra` is whole header lines."""
    extensions = "" if deflate is None else f"Sec-WebSocket-Extensions: {deflate.header}\r\n"
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{extensions}date: {_now()}\r\nserver: uvicorn\r\n"
    ).encode() + (extra + b"\r\n")


def refused(reply: Unary, length: int, *, extra: bytes = b"") -> bytes:
    """Return the head of an answer that is no 101, with this Content-Length. `extra` is whole header lines."""
    own = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    closing = f"Date: {_now()}\r\nConnection: close\r\n"
    if reply.content_type == PLAIN:
        lines = f"{closing}Content-Length: {length}\r\nContent-Type: {PLAIN}\r\n{own}"
    else:
        kind = "" if reply.content_type is None else f"content-type: {reply.content_type}\r\n"
        lines = f"{own}content-length: {length}\r\n{kind}{closing}"
    return f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n{lines}".encode("latin-1") + (extra + b"\r\n")


def _now() -> str:
    return formatdate(int(time.time()), usegmt=True)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
