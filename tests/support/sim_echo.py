"""A server and a client for simulated worlds: lines go there, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simkernel import Net

__all__ = ["PORT", "Line", "elapsed", "serving"]

PORT = 8000


class Line:
    """An open connection to the echo server of a host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, host: str, port: int = PORT) -> Line:
        return cls(*await asyncio.open_connection(host, port))

    async def ask(self, text: bytes = b"hello") -> bytes:
        """Send a line and return the answer; empty at the end of the stream."""
        self.writer.write(text + b"\n")
        return (await self.reader.readline()).removesuffix(b"\n")

    def hang_up(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def serving(net: Net, *names: str, backlog: int = 100) -> AsyncIterator[None]:
    """An echo server on each of these hosts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except OSError:
            pass  # a fault has struck
        finally:
            writer.close()

    servers = [await asyncio.start_server(serve, net.host(name).address, PORT, backlog=backlog) for name in names]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(1)  # until all have seen the end


def elapsed(net: Net) -> float:
    """Virtual seconds since the start."""
    return net.now - net.started
