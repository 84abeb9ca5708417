"""A bare FastAPI app on uvicorn: one application with one route, and one uvicorn server at as many sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import fastapi
import uvicorn

from loadtests.bench.peers.bare_answer import bare_answer

__all__ = ["serving"]


@dataclass
class Message:
    """One of a chat's."""

    role: str
    content: str


@dataclass
class Chat:
    """What is read of a request: FastAPI checks it against this."""

    model: str
    messages: list[Message]
    max_tokens: int


async def _chat(chat: Chat) -> dict[str, Any]:
    return bare_answer(chat.model)


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serving(agents: int) -> AsyncIterator[list[int]]:
    """`agents` ports of one app; yields them."""
    app = fastapi.FastAPI()
    app.add_api_route("/v1/chat/completions", _chat, methods=["POST"])
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(agents)]
    server = _Server(uvicorn.Config(app, log_level="warning", access_log=False))
    running = asyncio.create_task(server.serve(sockets))
    try:
        await server.listening.wait()
        yield [each.getsockname()[1] for each in sockets]
    finally:
        server.should_exit = True
        await running
