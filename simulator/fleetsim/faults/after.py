"""Faults that wait for the response to be over: what becomes of an idle connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleetsim.exchange import Unary
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import After, Idle, Status
from fleetsim.faults.parameters import choice, count, duration
from fleetsim.faults.told import WHOLE, Told, failed
from fleetsim.wire.outgoing import Outgoing

__all__ = ["CloseAfter", "ErrorThenFin", "HalfClose", "IdleFin", "IdleRst", "Stale"]


@catalogued
@dataclass(frozen=True, slots=True)
class IdleFin(After):
    """FIN when the connection has been idle for a time. A request that begins to arrive before that is served."""

    name: ClassVar[str] = "idle_fin"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "FIN so long after the response."
    aiohttp: ClassVar[str] = "Nothing, when the loop has seen it by the next request; else as `stale`."
    httpx: ClassVar[str] = "Nothing: an idle connection that has become readable is dropped; else as `stale`."
    told: ClassVar[Told] = WHOLE
    seconds: float = duration(0.0, "from the response to the FIN")

    def arm(self, idle: Idle) -> None:
        idle.later(self.seconds, idle.fin)


@catalogued
@dataclass(frozen=True, slots=True)
class IdleRst(After):
    """RST when the connection has been idle for a time. A request that begins to arrive before that is served."""

    name: ClassVar[str] = "idle_rst"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "RST so long after the response; what the client has not read of that may be lost with it."
    aiohttp: ClassVar[str] = "Nothing, when the loop has seen it by the next request; else as `stale`."
    httpx: ClassVar[str] = "Nothing: an idle connection that has become readable is dropped; else as `stale`."
    told: ClassVar[Told] = WHOLE
    seconds: float = duration(0.1, "from the response to the RST")

    def arm(self, idle: Idle) -> None:
        idle.later(self.seconds, idle.rst)


@catalogued
@dataclass(frozen=True, slots=True)
class Stale(After):
    """The end comes exactly as the next request does: no client can have seen it before it sent that.

    The bytes of that request are read and thrown away, and the ledger does not count it.
    """

    name: ClassVar[str] = "stale"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "FIN or RST in answer to the first bytes of the next request."
    aiohttp: ClassVar[str] = (
        "ServerDisconnectedError or ClientOSError for a POST; a GET is sent once more and succeeds."
    )
    httpx: ClassVar[str] = "RemoteProtocolError or ReadError, for every method."
    told: ClassVar[Told] = WHOLE
    strikes_next: ClassVar[bool] = True
    how: str = choice("fin", "which end", "rst")

    def arm(self, idle: Idle) -> None:
        idle.at_next_request(idle.fin if self.how == "fin" else idle.rst)


@catalogued
@dataclass(frozen=True, slots=True)
class CloseAfter(After):
    """The n-th response on a connection, and any later one, says `connection: close`, then FIN."""

    name: ClassVar[str] = "close_after"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "As by nginx's keepalive_requests: the n-th response is the last on its connection."
    aiohttp: ClassVar[str] = "Whole responses; a new connection after every n-th."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE
    requests: int = count(2, "requests", "that a connection may carry", least=1)

    def prepare(self, out: Outgoing, on_connection: int) -> None:
        out.closing = out.closing or on_connection >= self.requests


@catalogued
@dataclass(frozen=True, slots=True)
class ErrorThenFin(Status):
    """A 500 that does not say `connection: close`, then FIN 2 ms later: vLLM when a handler raises."""

    name: ClassVar[str] = "error_then_fin"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "A whole 500 without `vary` and without `connection: close`, then FIN."
    aiohttp: ClassVar[str] = "A response 500; a POST sent within 2 ms raises ServerDisconnectedError."
    httpx: ClassVar[str] = "A response 500; a request sent within 2 ms raises RemoteProtocolError."
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        # `vary` off is what makes the wire close behind it, as uvicorn does behind an answer from outside the
        # application's middlewares.
        return Unary(500, _INTERNAL_ERROR, vary=False)


@catalogued
@dataclass(frozen=True, slots=True)
class HalfClose(After):
    """FIN after the response, and the server goes on reading: what comes is thrown away, until the client closes."""

    name: ClassVar[str] = "half_close"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = (
        "FIN (shutdown of the sending side only) after the response; requests are taken, none answered."
    )
    aiohttp: ClassVar[str] = "A whole response; the connection is closed when the loop sees the FIN."
    httpx: ClassVar[str] = "A whole response; an idle connection that has become readable is dropped."
    told: ClassVar[Told] = WHOLE

    def arm(self, idle: Idle) -> None:
        idle.shut_writing()


_INTERNAL_ERROR = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
