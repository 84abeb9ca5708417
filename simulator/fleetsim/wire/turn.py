"""One request's turn on its connection: read, held back if a hold says so, answered, written into the book."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from typing import ClassVar, Protocol
from urllib.parse import unquote

from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import StreamReader
from aiohttp.web import RequestPayloadError
from multidict import istr

from fleetsim.book import Book
from fleetsim.errors import FaultError
from fleetsim.exchange import ApiRequest, Reply, Unary, WebSocket
from fleetsim.faults.catalogue import Fault, Stage, parse_faults
from fleetsim.faults.kinds import Accepted
from fleetsim.records import UNIX_PEER, ConnectionLine, RequestLine, RequestOutcome
from fleetsim.wire import heads
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Conclusion, Outgoing, Pipe
from fleetsim.wire.plan import Plan
from fleetsim.wire.settings import WireSettings

__all__ = ["ENDING_HEADER", "FAULT_HEADER", "Turn", "is_loopback"]

logger = logging.getLogger("fleetsim")

# `istr` is looked up faster than `str`, and every request is asked for both.
FAULT_HEADER = istr("X-Fleet-Fault")
ENDING_HEADER = istr("X-Fleet-Ending")
_EXPECT = istr("Expect")

_KEEP = Conclusion.KEEP  # Python 3.11 looks members of an enum up slowly

# What vLLM says when a handler raises (entrypoints/serve/exception_handling), from outside its CORS middleware.
INTERNAL_ERROR = Unary(
    500,
    b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}',
    vary=False,
)
# From such an answer to uvicorn's FIN, in seconds.
FIN_AFTER_ERROR = 0.002


class TurnPipe(Pipe, Accepted, Protocol):
    """What a turn needs of its connection."""

    @property
    def gone(self) -> RequestOutcome | None:
        """None while the connection stands; then how that ends the request it was serving."""


class Turn:
    """One request and its response. `run` is called once; `plan` is what its faults come to, if it has any."""

    asks_for_websocket: ClassVar[bool] = False
    internal_error: ClassVar[Unary] = INTERNAL_ERROR

    __slots__ = (
        "_body",
        "_book",
        "_line",
        "_loop",
        "_message",
        "_out",
        "_pipe",
        "_refusal",
        "_request",
        "_settings",
        "plan",
    )

    _request: ApiRequest

    def __init__(
        self,
        pipe: TurnPipe,
        settings: WireSettings,
        book: Book,
        line: ConnectionLine,
        message: RawRequestMessage,
        body: StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._pipe, self._settings, self._book, self._line, self._loop = pipe, settings, book, line, loop
        self._message, self._body = message, body
        self._refusal: Unary | None = None
        self.plan: Plan | None = None
        self._out = Outgoing(
            pipe,
            self._reply,
            head_only=message.method == "HEAD",
            closing=message.should_close or message.version < HttpVersion11 or _leaves_http(message),
        )

    async def run(self) -> Conclusion:
        """Serve the request; return what is to become of the connection. Cancelled when that ends first."""
        out, pipe = self._out, self._pipe
        path, query = _target(self._message)
        line = self._arrive(path)
        if self._settings.tell_connection:
            out.extra = b"x-fleet-connection: %d\r\nx-fleet-request: %d\r\n" % (line.connection, line.on_connection)
        ending = self._settings.ending
        headers = self._message.headers
        names_some = FAULT_HEADER in headers or ENDING_HEADER in headers
        if (names_some or self._settings.rules is not None) and (faults := self._choose_faults(line, names_some)):
            ending = self._make_plan(line, faults, ending)
        outcome: RequestOutcome = "error"
        try:
            outcome = await self._send(ending, path, query)
        finally:
            self._book.ended(line, out.status, ending.name, pipe.gone or outcome, self._loop.time())
        if out.dies:
            await asyncio.sleep(FIN_AFTER_ERROR)
        del out.reply  # a method of this turn: the two would wait, with all they hold, for the garbage collector
        return self._conclusion()

    def _arrive(self, path: str) -> RequestLine:
        return self._book.arrived(self._line, self._message.method, path, self._loop.time())

    async def _send(self, ending: Ending, path: str, query: str) -> RequestOutcome:
        out, message, plan = self._out, self._message, self.plan
        try:
            if plan is not None and not await self._received(plan):
                return "cut"
            body = await self._read_body()
            self._request = ApiRequest(message.method, path, query, message.headers, body)
            while self._settings.holds:
                await self._settings.holds[0].released()
            if plan is not None:
                await plan.prepare(out)
            await ending.send(out)
        except (RequestPayloadError, BadHttpMessage):
            self._pipe.write(heads.invalid_request())
            out.conclusion = Conclusion.FIN
            return "error"
        except Exception:
            logger.exception("%s %s: the answer failed in mid-stream", message.method, path)
            out.conclusion = Conclusion.FIN
            return "error"
        return "cut" if out.was_cut else "complete"

    async def _received(self, plan: Plan) -> bool:
        conclusion = await plan.receive(self._body, self._pipe)
        if conclusion is _KEEP:
            return True
        self._out.cut(conclusion)
        return False

    async def _read_body(self) -> bytes:
        if self._message.headers.get(_EXPECT, "").lower() == "100-continue":
            self._pipe.write(heads.CONTINUE)
        body = self._body
        return body.read_nowait() if body.is_eof() else await body.read()

    async def _reply(self) -> Reply:
        if self._refusal is not None:
            return self._refusal
        if self.plan is not None and (reply := self.plan.reply()) is not None:
            return reply
        try:
            return await self._answer()
        except Exception:
            logger.exception("%s %s: the answer failed", self._request.method, self._request.path)
            return self.internal_error
        finally:
            # As uvicorn's shutdown does: only now is it known whether this response is the last.
            self._out.closing = self._out.closing or self._settings.draining

    async def _answer(self) -> Reply:
        reply = await self._settings.answer(self._request)
        if isinstance(reply, WebSocket):
            raise TypeError("expected a reply to a request that asks for no websocket, got a WebSocket")
        return reply

    def _make_plan(self, line: RequestLine, faults: Sequence[Fault], usual: Ending) -> Ending:
        self.plan = plan = Plan(faults, usual, line.on_connection)
        line.faults = plan.names
        return plan.ending

    def _choose_faults(self, line: RequestLine, names_some: bool) -> Sequence[Fault]:
        rules = self._settings.rules
        if names_some and self._honours_header():
            return self._asked_for()
        return () if rules is None else rules.for_request(line, self._message.headers)

    def _asked_for(self) -> Sequence[Fault]:
        headers, name = self._message.headers, FAULT_HEADER
        try:
            faults = self._fitting(parse_faults(",".join(headers.getall(FAULT_HEADER, ()))))
            name = ENDING_HEADER
            return faults + self._fitting(parse_faults(",".join(headers.getall(ENDING_HEADER, ()))))
        except FaultError as error:
            self._refusal = Unary(400, f"{name}: {error}\n".encode(), "text/plain; charset=utf-8")
            return ()

    def _fitting(self, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        for fault in faults:
            if fault.stage in (Stage.CONNECT, Stage.PROCESS):
                raise FaultError(f"fault {fault.name!r} strikes at {fault.stage.value}: no request can ask for it")
            if fault.stage is Stage.WEBSOCKET and not self.asks_for_websocket:
                raise FaultError(f"fault {fault.name!r} strikes websockets: only a request for one can ask for it")
        return faults

    def _honours_header(self) -> bool:
        switch = self._settings.ending_header
        return is_loopback(self._line.peer) if switch is None else switch

    def _conclusion(self) -> Conclusion:
        out = self._out
        if out.conclusion is _KEEP and (out.closing or out.dies or self._settings.draining):
            return Conclusion.FIN
        return out.conclusion


def _leaves_http(message: RawRequestMessage) -> bool:
    # After these aiohttp parses no more HTTP on the connection. We answer as to any other request, and close.
    return message.upgrade and (
        message.method == "CONNECT" or message.headers.get("Upgrade", "").lower() in ("websocket", "tcp")
    )


def _target(message: RawRequestMessage) -> tuple[str, str]:
    path, _, query = message.path.partition("?")
    if path[:1] != "/" and "://" in path:
        path = message.url.raw_path
    return (unquote(path) if "%" in path else path), query


def is_loopback(peer: str) -> bool:
    """Whether `peer`, as the ledger writes it, is on this machine: a loopback address or a Unix socket."""
    if peer == UNIX_PEER:
        return True
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
