"""Answers that grant a websocket, and a fleet of one with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fleetsim import Answer, ApiRequest, Reply, Unary, WebSocket, WebSocketEnd

__all__ = ["Talk", "Talker", "echoing", "granting"]

Talk = Callable[[WebSocketEnd], Awaitable[None]]


def granting(talk: Talk) -> Callable[[int], Answer]:
    """For `Fleet(answer=...)`: a websocket with this talk wherever one is asked for, and 200 elsewhere."""

    async def answer(request: ApiRequest) -> Reply | WebSocket:
        return WebSocket(talk) if request.websocket else Unary(200, b"{}")

    return lambda index: answer


async def echoing(end: WebSocketEnd) -> None:
    async for message in end:
        await end.send(message)


class Talker:
    """A talk that says when it began, waits to be let go, and says whether it was cancelled."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, end: WebSocketEnd) -> None:
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
