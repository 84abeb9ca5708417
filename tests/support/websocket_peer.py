"""A websocket server for tests: it echoes, and does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from raw_agent import eventually

__all__ = ["WebSocketPeer"]


class WebSocketPeer:
    """The server's ends of its websockets, in the order in which they were opened, and what it has seen."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.open = 0
        self.peak_open = 0
        self.refuse_with: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.close_next = False
        self._server: TestServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return str(self._server.make_url("/ws"))

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        assert self._server is not None
        assert self._server.port is not None
        return self._server.host, self._server.port

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.close_next:
            self.close_next = False
            assert request.transport is not None
            request.transport.abort()
        await self.gate.wait()
        if self.refuse_with is not None:
            return web.Response(status=self.refuse_with)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.open += 1
        self.peak_open = max(self.open, self.peak_open)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
        finally:
            self.open -= 1
        return socket

    async def _post(self, _: web.Request) -> web.Response:
        await self.gate.wait()
        return web.json_response({"response": "well"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[WebSocketPeer]:
        """It listens inside."""
        app = web.Application()
        app.router.add_get("/ws", self._serve)
        app.router.add_post("/generate", self._post)
        self._server = TestServer(app)
        async with self._server:
            yield self
            for socket in self.sockets:
                await socket.close()

    async def until(self, open_now: int) -> None:
        """Return when so many websockets are open."""
        await eventually(lambda: self.open == open_now)
