"""One response on its way out: what an ending works with.

An ending asks for the reply, writes the head and the pieces of the body as it likes, and says how it concluded. It
never touches the connection itself: `Conclusion` tells the connection what to do once the ending has returned.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from fleetsim.exchange import EventStream, Reply, Unary
from fleetsim.wire import heads

__all__ = ["Conclusion", "Framing", "Outgoing", "Pipe"]

DONE = b"data: [DONE]\n\n"
_BODYLESS_STATUS = frozenset({101, 204, 304})


class Framing(enum.Enum):
    """How a client can know where the body ends."""

    NATURAL = enum.auto()
    """As vLLM does: Content-Length for a unary answer, chunks for a stream."""
    CHUNKED = enum.auto()
    UNTIL_CLOSE = enum.auto()


class Conclusion(enum.Enum):
    """What becomes of the connection after the response."""

    KEEP = enum.auto()
    FIN = enum.auto()
    RST = enum.auto()


# Python 3.11 takes a fifth of a microsecond to look up a member of an enum, and each response does so several times.
_NATURAL, _CHUNKED, _UNTIL_CLOSE = Framing
_KEEP = Conclusion.KEEP


class Pipe(Protocol):
    """What an `Outgoing` needs of its connection."""

    def write(self, data: bytes) -> None:
        """Hand `data` to the transport, in one write."""

    async def drain(self) -> None:
        """Wait until the transport takes more; at once if it does now."""

    def unbuffer(self) -> None:
        """From now on `drain` returns only when the kernel has taken all that was written."""


class Outgoing:
    """The response to one request.

    `reply` computes the answer. `closing` asks for `connection: close` and a FIN after the response; an ending may set
    it before it asks for the head. `conclusion` and `was_cut` are read when the ending has returned. `dies` is set by a
    reply from outside vLLM's middlewares: uvicorn closes behind it without having said so. `write` (in one write),
    `drain` and `unbuffer` are the pipe's.
    """

    __slots__ = (
        "_head_only",
        "bodyless",
        "closing",
        "conclusion",
        "dies",
        "drain",
        "extra",
        "reply",
        "status",
        "unbuffer",
        "was_cut",
        "write",
    )

    def __init__(
        self,
        pipe: Pipe,
        reply: Callable[[], Awaitable[Reply]],
        *,
        head_only: bool = False,
        closing: bool = False,
    ) -> None:
        self.write, self.drain, self.unbuffer = pipe.write, pipe.drain, pipe.unbuffer
        self.reply = reply
        self._head_only = self.bodyless = head_only
        self.closing = closing
        self.extra = b""
        self.conclusion = _KEEP
        self.was_cut = self.dies = False
        self.status: int | None = None

    def head(self, reply: Reply, framing: Framing = _NATURAL, *, missing: int = 0) -> bytes:
        """Return the head for `reply`. `missing` bytes are announced beyond the body, or fewer, where a length is."""
        if isinstance(reply, EventStream):
            self.status = 200
            return heads.head(200, extra=self.extra, close=self.closing, chunked=framing is not _UNTIL_CLOSE)
        self.status = status = reply.status
        self.dies = not reply.vary
        self.bodyless = self._is_bodyless(reply)
        has_length = framing is _NATURAL and status not in _BODYLESS_STATUS
        return heads.head(
            status,
            length=len(reply.body) + missing if has_length else None,
            content_type=reply.content_type,
            headers=reply.headers,
            vary=reply.vary,
            extra=self.extra,
            close=self.closing,
            chunked=framing is _CHUNKED,
        )

    def _is_bodyless(self, reply: Unary) -> bool:
        return self._head_only or reply.status in _BODYLESS_STATUS

    async def pieces(
        self, reply: Reply, framing: Framing = _NATURAL, *, terminated: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body in the pieces that leave in one write each, framed; `terminated` with the last chunk."""
        if isinstance(reply, Unary):
            if reply.body and not self._is_bodyless(reply):
                yield heads.chunk(reply.body) if framing is _CHUNKED else reply.body
            return
        frame = _bare if framing is _UNTIL_CLOSE else heads.chunk
        terminator = heads.TERMINATOR if terminated and framing is not _UNTIL_CLOSE else b""
        try:
            if self.bodyless:
                return
            async for event in reply.events:
                if terminator and event == DONE:
                    yield frame(event) + terminator
                    terminator = b""
                else:
                    yield frame(event)
            if terminator:
                yield terminator
        finally:
            await _stop(reply.events)

    @property
    def terminator(self) -> bytes:
        """The last chunk; nothing where the response has no body."""
        return b"" if self.bodyless else heads.TERMINATOR

    def cut(self, conclusion: Conclusion) -> None:
        """The response stops here, unfinished."""
        self.conclusion, self.was_cut = conclusion, True


def _bare(event: bytes) -> bytes:
    return event


async def _stop(events: AsyncIterator[bytes]) -> None:
    if isinstance(events, AsyncGenerator):
        await events.aclose()
