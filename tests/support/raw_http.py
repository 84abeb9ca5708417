"""A client that knows no HTTP: a socket, its bytes, and how they end.

`Peer` is one TCP connection in the running loop. Reading never waits longer than `PATIENCE` seconds, so that a server
that says nothing fails the test that waits, with what had come until then.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["PATIENCE", "Peer", "TlsPeer", "bodies_of", "dated", "get", "post"]

PATIENCE = 10.0

T = TypeVar("T")

_DATE = re.compile(rb"(?<=\r\ndate: )[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT(?=\r\n)")


def get(path: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    """The bytes of a request without a body."""
    return _head(method, path, version, headers)


def post(path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """The bytes of a POST with a Content-Length."""
    return _head("POST", path, version, (*headers, f"content-length: {len(body)}")) + body


def _head(method: str, path: str, version: str, headers: tuple[str, ...]) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: agent", *headers, "", ""]
    return "\r\n".join(lines).encode()


def dated(data: bytes) -> bytes:
    """`data` with every well-formed date replaced by `<date>`."""
    return _DATE.sub(b"<date>", data)


def bodies_of(data: bytes) -> list[bytes]:
    """What follows each head in a run of responses that have a Content-Length."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]  # a test's own data
        found.append(rest[:length])
        data = rest[length:]
    return found


class Peer:
    """One connection to a port on the loopback address, or to a socket file; `async with` opens and closes it."""

    def __init__(self, at: int | Path) -> None:
        self._address = str(at) if isinstance(at, Path) else ("127.0.0.1", at)
        self._socket = socket.socket(socket.AF_UNIX if isinstance(at, Path) else socket.AF_INET)
        self._socket.setblocking(False)
        self._kept = b""

    async def __aenter__(self) -> Self:
        try:
            await self._soon(asyncio.get_running_loop().sock_connect(self._socket, self._address))
        except BaseException:
            self._socket.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        await self._soon(asyncio.get_running_loop().sock_sendall(self._socket, data))

    async def some(self) -> bytes:
        """What is there, or comes next; empty is FIN, and an RST raises ConnectionResetError."""
        kept, self._kept = self._kept, b""
        return kept or await self._soon(asyncio.get_running_loop().sock_recv(self._socket, 1 << 20))

    async def until(self, mark: bytes) -> bytes:
        """All up to and including `mark`; what follows it is kept for the next reading."""
        data = b""
        while mark not in data:
            more = await self.some()
            if not more:
                raise AssertionError(f"FIN before {mark!r}; got {data!r}")
            data += more
        found, _, self._kept = data.partition(mark)
        return found + mark

    async def exactly(self, length: int) -> bytes:
        """The next `length` bytes; what follows them is kept for the next reading."""
        data = b""
        while len(data) < length:
            more = await self.some()
            if not more:
                raise AssertionError(f"FIN before {length} bytes; got {data!r}")
            data += more
        data, self._kept = data[:length], data[length:]
        return data

    async def response(self) -> bytes:
        """One whole response that has a Content-Length, head and body."""
        head = await self.until(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]  # it has one
        body = b""
        while len(body) < length:
            more = await self.some()
            if not more:
                raise AssertionError(f"FIN inside {head!r}; got {body!r}")
            body += more
        body, self._kept = body[:length], body[length:]
        return head + body

    async def to_the_end(self) -> bytes:
        """All until FIN."""
        data = b""
        while more := await self.some():
            data += more
        return data

    async def to_the_reset(self) -> bytes:
        """All until RST; a FIN fails."""
        data = b""
        try:
            while more := await self.some():
                data += more
        except ConnectionResetError:
            return data
        raise AssertionError(f"FIN, not RST, after {data!r}")

    def is_quiet(self) -> bool:
        """Whether nothing, not even an end, is there to be read at this instant."""
        if self._kept:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Close with an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _soon(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wait_for(work, PATIENCE)


class TlsPeer(Peer):
    """The same through TLS: bytes are those inside it. `goodbye` is set when the server has sent its close_notify."""

    def __init__(self, at: int | Path, context: ssl.SSLContext, name: str = "127.0.0.1") -> None:
        super().__init__(at)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.goodbye = False

    async def shake_hands(self) -> None:
        """Raises ssl.SSLError where one side refuses."""
        try:
            while not self._hands_are_shaken():
                await self._flush()
                self._feed(await super().some())
        finally:
            await self._flush()

    def _hands_are_shaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self._flush()

    async def some(self) -> bytes:
        kept, self._kept = self._kept, b""
        while not kept and not self.goodbye:
            try:
                kept = self.tls.read(1 << 20)
                self.goodbye = not kept
            except ssl.SSLWantReadError:
                more = await super().some()
                if not more:
                    return b""
                self._incoming.write(more)
        return kept

    async def say_goodbye(self) -> None:
        """Send close_notify and go on reading."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self._flush()

    async def after_goodbye(self) -> bytes:
        """What comes outside of TLS, behind the close_notify."""
        return await super().some()

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await super().send(self._outgoing.read())
