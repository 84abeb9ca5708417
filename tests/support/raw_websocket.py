"""A websocket client that knows no more than its bytes: the handshake, masked frames, and frames read one by one."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from raw_http import Peer, dated

__all__ = ["ACCEPT", "HANDSHAKE", "KEY", "close", "closed_with", "masked", "upgrade", "websocket"]

# The example of RFC 6455, 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HANDSHAKE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\ndate: <date>\r\nserver: uvicorn\r\n\r\n"
) % ACCEPT.encode()

_MASK = b"\x01\x02\x03\x04"


def upgrade(
    path: str = "/echo", *headers: str, method: str = "GET", key: str | None = KEY, version: str = "13"
) -> bytes:
    """The bytes of a request for a websocket."""
    lines = [f"{method} {path} HTTP/1.1", "host: agent", "upgrade: websocket", "connection: Upgrade"]
    lines += [f"sec-websocket-key: {key}"] if key is not None else []
    return "\r\n".join([*lines, f"sec-websocket-version: {version}", *headers, "", ""]).encode()


def masked(opcode: int, data: bytes = b"", *, last: bool = True, bits: int = 0) -> bytes:
    """One frame as a client sends it; `bits` are the reserved ones, from 0 to 7."""
    first, length = (0x80 if last else 0) | bits << 4 | opcode, len(data)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + _MASK + bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(data))


def close(code: int, reason: str = "") -> bytes:
    """A close frame as a client sends it."""
    return masked(8, struct.pack("!H", code) + reason.encode())


def closed_with(code: int, reason: str = "") -> bytes:
    """A close frame as a server sends it."""
    data = struct.pack("!H", code) + reason.encode()
    return struct.pack("!BB", 0x88, len(data)) + data


@asynccontextmanager
async def websocket(port: int, path: str = "/echo", *headers: str) -> AsyncIterator[Peer]:
    """A connection on which the handshake has just been done."""
    async with Peer(port) as peer:
        await peer.send(upgrade(path, *headers))
        head = dated(await peer.until(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield peer
