"""The turn of a request that asks for a websocket: its answer is a 101, or a refusal behind which the connection ends.

To whatever writes it, the 101 is a response without a body: faults of the head, delays and statuses strike it as any
other, and one that cuts a response short ends the connection right behind the handshake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import msgspec
from aiohttp.http import RawRequestMessage

from fleetsim.exchange import EventStream, Reply, Unary, WebSocket, WebSocketEnd
from fleetsim.faults.kinds import Talking
from fleetsim.faults.writing import write_body
from fleetsim.records import RequestLine, RequestOutcome
from fleetsim.wire.deflate import Deflate, negotiate
from fleetsim.wire.endings import DEFAULT_ENDING, Ending, Split
from fleetsim.wire.handshake import PLAIN, accept_key, granted, mistake, refused
from fleetsim.wire.outgoing import Conclusion, Framing, Outgoing, Pipe
from fleetsim.wire.turn import Turn

__all__ = ["UpgradeTurn"]

_SWITCHING = Unary(101, b"", None)
_INTERNAL_ERROR = Unary(500, b"Internal Server Error", PLAIN)


class Handshake(Outgoing):
    """The answer to a request for a websocket. `accept` is its Sec-WebSocket-Accept."""

    __slots__ = ("accept", "deflate")

    def __init__(self, pipe: Pipe, reply: Callable[[], Awaitable[Reply]], message: RawRequestMessage) -> None:
        super().__init__(pipe, reply, closing=True)
        self.accept = accept_key(message.headers.get("Sec-WebSocket-Key", ""))
        self.deflate: Deflate | None = negotiate(",".join(message.headers.getall("Sec-WebSocket-Extensions", ())))

    def head(self, reply: Reply, framing: Framing = Framing.NATURAL, *, missing: int = 0) -> bytes:
        if isinstance(reply, EventStream):
            return super().head(reply, framing)
        self.status, self.bodyless = reply.status, self._is_bodyless(reply)
        if reply.status == _SWITCHING.status:
            return granted(self.accept, self.deflate, extra=self.extra)
        return refused(reply, len(reply.body) + missing, extra=self.extra)


class _Together(Split):
    """The usual ending of a refusal: where responses leave in two writes, uvicorn sends this in one."""

    __slots__ = ()

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        if isinstance(reply, Unary):
            head = out.head(reply)
            out.write(head if out.bodyless else head + reply.body)
        else:
            out.write(out.head(reply))
            await write_body(out, reply)


_TOGETHER = _Together()


class UpgradeTurn(Turn):
    """`run` leaves in `talk` what the websocket is for, if there is one; `line` is then the request's in the book."""

    asks_for_websocket: ClassVar[bool] = True
    internal_error: ClassVar[Unary] = _INTERNAL_ERROR

    __slots__ = ("line", "talk")

    line: RequestLine
    _out: Handshake

    async def run(self) -> Conclusion:
        self.talk: Callable[[WebSocketEnd], Awaitable[None]] | None = None
        self._out = Handshake(self._pipe, self._reply, self._message)
        return await super().run()

    @property
    def deflate(self) -> Deflate | None:
        """The compression that was agreed on."""
        return self._out.deflate

    @property
    def talking(self) -> Sequence[Talking]:
        """The faults that strike the websocket."""
        return () if self.plan is None else self.plan.talking

    def _arrive(self, path: str) -> RequestLine:
        self.line = super()._arrive(path)
        self.line.websocket = True
        return self.line

    async def _send(self, ending: Ending, path: str, query: str) -> RequestOutcome:
        return await super()._send(_TOGETHER if ending is DEFAULT_ENDING else ending, path, query)

    async def _answer(self) -> Reply:
        wrong = mistake(self._message)
        if wrong is not None:
            return wrong
        request = msgspec.structs.replace(self._request, websocket=True)
        reply = await self._settings.answer(request)
        if self._settings.draining:
            return _INTERNAL_ERROR
        if isinstance(reply, WebSocket):
            self.talk = reply.talk
            for fault in self.talking:
                fault.prepare(self._out)
            return _SWITCHING
        return reply

    def _conclusion(self) -> Conclusion:
        out = self._out
        stands = self.talk is not None and out.conclusion is Conclusion.KEEP
        return out.conclusion if stands or out.conclusion is Conclusion.RST else Conclusion.FIN
