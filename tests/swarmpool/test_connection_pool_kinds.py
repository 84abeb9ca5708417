"""The suite on wires without a network and on plain streams; `tests/pairing` has websockets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Self

from pool_suite import Kind, PoolSuite
from wires import Peer, Wire

from swarmpool import ConnectionPool

IDLE_SECONDS = 0.05


class Wires(Kind[Wire]):
    """Wires, whose peer is an object."""

    async def __aenter__(self) -> Self:
        self.peer = Peer()
        self.ended: set[int] = set()
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    def pool(self, **options: Any) -> ConnectionPool[Wire]:
        self.made = ConnectionPool[Wire](
            connect_cb=self._connect, close_cb=self.peer.close, validate_cb=self._alive, **options
        )
        return self.made

    async def _connect(self, timeout: float) -> Wire:
        wire = await self.peer.connect(timeout)
        if self.closes_idle:
            asyncio.get_running_loop().call_later(IDLE_SECONDS, self.ended.add, wire.number)
        return wire

    def _alive(self, wire: Wire) -> bool:
        return wire.number not in self.ended

    async def talk(self, connection: Wire, text: str) -> str:
        assert not connection.closed
        await asyncio.sleep(0)
        return text

    def opened(self) -> int:
        return self.peer.opened

    def open_now(self) -> int:
        return sum(not wire.closed and wire.number not in self.ended for wire in self.peer.wires)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Streams(Kind[Pair]):
    """A reader and a writer, to a server that sends every line back."""

    async def __aenter__(self) -> Self:
        self.accepted = self.ended = 0
        self.server = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            async with asyncio.timeout(IDLE_SECONDS if self.closes_idle else None):
                while line := await reader.readline():
                    writer.write(line)
                    await writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            await self._close((reader, writer))
            self.ended += 1

    def pool(self, **options: Any) -> ConnectionPool[Pair]:
        return ConnectionPool[Pair](connect_cb=self._connect, close_cb=self._close, validate_cb=self._alive, **options)

    async def _connect(self) -> Pair:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _close(self, pair: Pair) -> None:
        pair[1].close()
        with contextlib.suppress(ConnectionError):
            await pair[1].wait_closed()

    def _alive(self, pair: Pair) -> bool:
        return not (pair[0].at_eof() or pair[1].is_closing())

    async def talk(self, connection: Pair, text: str) -> str:
        reader, writer = connection
        writer.write(f"{text}\n".encode())
        await writer.drain()
        return (await reader.readline()).decode().strip()

    def opened(self) -> int:
        return self.accepted

    def open_now(self) -> int:
        return self.accepted - self.ended


class TestWires(PoolSuite):
    kind = Wires


class TestStreams(PoolSuite):
    kind = Streams
