"""Answers for servers under test: small applications in place of vLLM's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fleetsim import Answer, ApiRequest, EventStream, Reply, Unary

__all__ = ["DONE", "Witness", "always", "events", "hello", "streamed"]

DONE = b"data: [DONE]\n\n"


async def hello(request: ApiRequest) -> Reply:
    """Whatever is asked: a small JSON answer that says how long the request's body was."""
    return Unary(200, b'{"read":%d}' % len(request.body))


def always(reply: Reply) -> Answer:
    """An answer that is `reply` for every request."""

    async def answer(request: ApiRequest) -> Reply:
        return reply

    return answer


async def events(*data: bytes) -> AsyncIterator[bytes]:
    """The events, one after the other."""
    for each in data:
        yield each


def streamed(*data: bytes) -> Answer:
    """An answer that streams these events, anew for every request."""

    async def answer(request: ApiRequest) -> Reply:
        return EventStream(events(*data))

    return answer


class Witness:
    """An answer that says when it was begun, waits to be let go, and says whether it was cancelled.

    Paths that begin with `/stream` are streams: one event, the wait, `[DONE]`.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls: list[str] = []

    async def __call__(self, request: ApiRequest) -> Reply:
        self.calls.append(request.path)
        if request.path.startswith("/stream"):
            return EventStream(self._events())
        await self._wait()
        return Unary(200, b"{}")

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await self._wait()
        yield DONE

    async def _wait(self) -> None:
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
