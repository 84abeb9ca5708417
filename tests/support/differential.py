"""A stage for one behaviour of aiohttp, to be played on real loopback sockets and in a simulation.

A scenario tells what it sees to an actor's account: the client's, or that of one of the server's connections. The order
between accounts is a matter of timing and not compared; the order within one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

__all__ = ["GAP", "OK", "SCENARIOS", "Scenario", "Stage", "abort", "chunks", "play", "read_request", "scenario"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GAP = 0.05  # seconds: far above the latency of both, so that what is apart arrives apart

RawHandler = Callable[["Visit"], Awaitable[None]]
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stage:
    """Servers and sessions of one scenario, and the accounts of its actors."""

    def __init__(self) -> None:
        self.accounts: dict[str, list[Any]] = {}
        self.stack = contextlib.AsyncExitStack()
        self._counts: dict[str, int] = {}
        self._connector: aiohttp.TCPConnector | None = None

    def tell(self, *facts: Any, by: str = "client") -> None:
        self.accounts.setdefault(by, []).append(facts)

    async def raw(self, handler: RawHandler) -> tuple[str, asyncio.Server]:
        """A server of bare connections; returns its URL. Each is closed when the handler returns."""
        visits = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal visits
            visits += 1
            visit = Visit(self, visits, reader, writer)
            visit.tell("accepted")
            try:
                await handler(visit)
            except (OSError, EOFError) as error:
                visit.tell("raised", describe(error))
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.stack.callback(server.close)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", server

    async def web(self, handler: WebHandler, **options: Any) -> tuple[str, web.AppRunner]:
        """aiohttp's server with this handler for every request; returns its URL."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, **options)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}", runner

    def session(self, **connector: Any) -> aiohttp.ClientSession:
        counts = self._counts = {"created": 0, "reused": 0, "queued": 0}

        def count(name: str) -> Any:
            async def on(*_: Any) -> None:
                counts[name] += 1

            return on

        traces = aiohttp.TraceConfig()
        traces.on_connection_create_end.append(count("created"))
        traces.on_connection_reuseconn.append(count("reused"))
        traces.on_connection_queued_start.append(count("queued"))
        self._connector = aiohttp.TCPConnector(**connector)
        return aiohttp.ClientSession(
            connector=self._connector, trace_configs=[traces], timeout=aiohttp.ClientTimeout(total=20)
        )

    def tell_counts(self) -> None:
        """What the session has opened, reused and queued, and its connector holds."""
        assert self._connector is not None
        idle = sum(len(each) for each in self._connector._conns.values())
        self.tell("counts", dict(self._counts), "idle", idle, "acquired", len(self._connector._acquired))

    async def fetch(self, session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> bytes:
        """Ask, and tell how it went."""
        try:
            async with session.request(method, url, **options) as response:
                body = await response.read()
                self.tell("answered", response.status, len(body))
                return body
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.tell("raised", describe(error))
            return b""


class Visit:
    """One connection of a raw server."""

    def __init__(self, stage: Stage, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.stage, self.number, self.reader, self.writer = stage, number, reader, writer

    def tell(self, *facts: Any) -> None:
        self.stage.tell(*facts, by=f"connection {self.number}")

    async def request(self) -> bytes:
        """The head of the next request; its body is read."""
        return await read_request(self.reader)

    def abort(self) -> None:
        abort(self.writer.transport)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            await reader.readexactly(int(value))
    return head


def abort(transport: asyncio.BaseTransport | None) -> None:
    """Close with an RST."""
    assert isinstance(transport, asyncio.WriteTransport)
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def describe(error: BaseException) -> str:
    """Its class, errno and cause."""
    number = getattr(error, "errno", None)
    cause = error.__cause__
    return f"{type(error).__name__} errno={number} cause={type(cause).__name__ if cause else None}"


Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    """Enter it into the list of all."""
    name = getattr(play, "__name__", "")
    assert name not in SCENARIOS
    SCENARIOS[name] = play
    return play


async def play(acted: Scenario) -> dict[str, list[Any]]:
    """Play it in the running loop, and return the accounts of all actors."""
    stage = Stage()
    async with stage.stack:
        await acted(stage)
    await asyncio.sleep(2 * GAP)  # what has been closed ends, once a server's own GAP is over
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=5)
    return stage.accounts


async def chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
