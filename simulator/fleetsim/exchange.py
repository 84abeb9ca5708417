"""The seam between what a server says (`api/`) and how its bytes leave (`wire/`).

`api/` turns an `ApiRequest` into a `Reply` and knows nothing of sockets; `wire/` turns a `Reply` into exact bytes,
applies the ending, and knows nothing of JSON. Cancelling `Answer.__call__` or `WebSocket.talk`, or closing
`EventStream.events`, is how a client's disconnect reaches the generation: each must stop all work for it at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from fleetsim.engine import Halt

__all__ = ["Answer", "ApiRequest", "EventStream", "Reply", "Steered", "Unary", "WebSocket", "WebSocketEnd"]


class ApiRequest(msgspec.Struct, frozen=True):
    """One parsed request. `headers` looks names up without regard to case; `path` carries no query.

    `websocket`: it asks for a websocket, with a handshake that is in order. Any reply but a `WebSocket` refuses it.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    websocket: bool = False


class Unary(msgspec.Struct, frozen=True):
    """A whole answer. `vary` is off only where vLLM answers from outside its CORS middleware (its own 500s)."""

    status: int
    body: bytes
    content_type: str | None = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    vary: bool = True


class EventStream(msgspec.Struct, frozen=True):
    """A stream of server-sent events.

    Each item of `events` is one complete event (`b"data: ...\\n\\n"`), leaves as one HTTP chunk in one write, and the
    last one is `data: [DONE]`. The head goes out before the first item is asked for.
    """

    events: AsyncIterator[bytes]


class WebSocketEnd(Protocol):
    """The server's end of a websocket. Iterating yields the client's messages, text as str and binary as bytes.

    The iteration ends when either side has closed it. For one task at a time, but that several may send.
    """

    def __aiter__(self) -> WebSocketEnd: ...

    async def __anext__(self) -> str | bytes:
        """Return the client's next message. Cancelling loses none."""

    async def send(self, message: str | bytes) -> None:
        """Send a message, and return when the transport takes more.

        Raises WebSocketClosedError when either side has closed it. Cancelled or not, the message is sent.
        """

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; nothing can be sent behind it. Closing twice is closing once."""


class WebSocket(msgspec.Struct, frozen=True):
    """A websocket is granted: `talk` is called with it when the handshake is done.

    When `talk` returns, or raises, without having closed it, the connection ends without a closing handshake, as under
    uvicorn. It is cancelled when the connection is lost.
    """

    talk: Callable[[WebSocketEnd], Awaitable[None]]


Reply = Unary | EventStream
Answer = Callable[[ApiRequest], Awaitable[Reply | WebSocket]]


@runtime_checkable
class Steered(Protocol):
    """What an `Answer` may be besides: one with an engine behind it."""

    def steer(self, *, pace: float, halt: Halt | None) -> None:
        """Make all latencies `pace` times the usual, and let `halt` keep the engine from generating; None lets it.

        Requests under way that `halt` ends are ended at once; to be halted as before ends none.
        """
