"""A server of exact bytes for the pool's tests: it reads whole requests and answers with whatever a function writes.

It speaks no HTTP of its own beyond finding where a request ends, so it can be rude in every way, and it counts its
connections as the peer sees them.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self, cast

from swarmpool import AgentEndpoint

__all__ = ["RawAgent", "RawConnection", "chunk", "eventually", "http", "says", "sse_head"]

PATIENCE = 10.0  # seconds

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A response with a Content-Length (that of `body` unless told)."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(text: str = "hello") -> bytes:
    """A plain agent's good answer."""
    return http(json.dumps({"response": text}).encode(), "content-type: application/json")


def sse_head() -> bytes:
    """The head of a stream of events in chunks."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(*data: str) -> bytes:
    """Events with these data, in one chunk."""
    events = "".join(f"data: {each}\n\n" for each in data).encode()
    return b"%x\r\n%s\r\n" % (len(events), events)


class RawConnection(asyncio.Protocol):
    """One accepted connection. `requests` are the bodies read from it."""

    def __init__(self, agent: RawAgent) -> None:
        self._agent = agent
        self._rest = b""
        self.requests: list[bytes] = []
        self.heads: list[bytes] = []
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self._agent.connections.append(self)
        self._agent.peak_open = max(self._agent.peak_open, self._agent.open_now)
        if self._agent.deaf:
            self.wire.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (cut := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:cut]
            found = _LENGTH.search(head)
            end = cut + 4 + (int(found[1]) if found else 0)
            if b"transfer-encoding: chunked" in head.lower():
                last = self._rest.find(_LAST_CHUNK, cut)
                end = last + len(_LAST_CHUNK) if last >= 0 else len(self._rest) + 1
            if len(self._rest) < end:
                return
            self.heads.append(head)
            self.requests.append(self._rest[cut + 4 : end])
            self._rest = self._rest[end:]
            self._agent.respond(self)

    def write(self, *pieces: bytes) -> None:
        self.wire.write(b"".join(pieces))

    def close(self) -> None:
        self.wire.close()

    def reset(self) -> None:
        """End with an RST."""
        sock = self.wire.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.abort()


def _answer(connection: RawConnection) -> None:
    connection.write(says())


class RawAgent:
    """`async with RawAgent(respond) as agent:` listens on a free port; `respond(connection)` is called per request.

    `deaf` never reads. `ssl` makes it speak TLS.
    """

    def __init__(
        self,
        respond: Callable[[RawConnection], None] = _answer,
        *,
        deaf: bool = False,
        ssl: SSLContext | None = None,
        hosts: tuple[str, ...] = ("127.0.0.1",),
    ) -> None:
        self.respond = respond
        self.deaf = deaf
        self.connections: list[RawConnection] = []
        self.peak_open = 0
        self._ssl = ssl
        self._hosts = hosts

    @property
    def opened(self) -> int:
        return len(self.connections)

    @property
    def open_now(self) -> int:
        return sum(not connection.lost.is_set() for connection in self.connections)

    @property
    def requests(self) -> list[bytes]:
        return [body for connection in self.connections for body in connection.requests]

    @property
    def bodies(self) -> list[Any]:
        """The requests' bodies as JSON values."""
        return [json.loads(body) for body in self.requests]

    @property
    def endpoint(self) -> AgentEndpoint:
        return AgentEndpoint(self._hosts[0], self.port, scheme="http" if self._ssl is None else "https")

    async def __aenter__(self) -> Self:
        self._servers: list[asyncio.Server] = []
        while not await self._listen():
            self._close()
        return self

    async def _listen(self) -> bool:
        """Listen at every host; False if the port that the first was given is somebody else's at another."""
        loop = asyncio.get_running_loop()
        self.port = 0
        for host in self._hosts:
            try:
                server = await loop.create_server(lambda: RawConnection(self), host, self.port, ssl=self._ssl)
            except OSError:
                if not self.port:
                    raise
                return False
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]
        return True

    def _close(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        for connection in self.connections:
            connection.wire.abort()
        for connection in self.connections:
            await connection.lost.wait()


async def eventually(true: Callable[[], object], what: str = "") -> None:
    """Return once `true()` is; fail after a generous while. For what nobody sends an event for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not true():
        assert loop.time() < deadline, what or "it never came true"
        await asyncio.sleep(0.002)
