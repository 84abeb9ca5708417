"""The seam between what a server says (`api/`) and how its bytes leave (`wire/`).

`api/` turns an `ApiRequest` into a `Reply` and knows nothing of sockets; `wire/` turns a `Reply` into exact bytes,
applies the ending, and knows nothing of JSON. Cancelling `Answer.__call__`, or closing `EventStream.events`, is how
a client's disconnect reaches the generation: both must stop all work for that request at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

__all__ = ["Answer", "ApiRequest", "EventStream", "Reply", "Unary"]


class ApiRequest(msgspec.Struct, frozen=True):
    """One parsed request. `headers` looks names up without regard to case; `path` carries no query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


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


Reply = Unary | EventStream
Answer = Callable[[ApiRequest], Awaitable[Reply]]
