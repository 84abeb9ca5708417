"""`/echo`: a websocket that says whatever it is told, text as text and binary as binary. vLLM has no such route."""

from __future__ import annotations

from fleetsim.api.served import Server
from fleetsim.exchange import ApiRequest, WebSocket, WebSocketEnd

__all__ = ["echo"]


async def echo(server: Server, request: ApiRequest) -> WebSocket:  # noqa: ARG001 (every route takes both)
    """Grant a websocket that echoes."""
    return WebSocket(_talk)


async def _talk(end: WebSocketEnd) -> None:
    async for message in end:
        await end.send(message)
