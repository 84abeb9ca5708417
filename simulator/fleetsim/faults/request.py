"""Faults while the request is read, and before anything is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aiohttp.streams import StreamReader

from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Accepted, Receiving
from fleetsim.faults.parameters import choice, count, duration
from fleetsim.faults.told import NEVER, Told, failed
from fleetsim.faults.writing import pause
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Conclusion, Outgoing

__all__ = ["BeforeHeadRst", "CloseReading", "StopReading"]


@catalogued
@dataclass(frozen=True, slots=True)
class StopReading(Receiving):
    """The request's body is not read: a large one fills the kernel's buffers and the client cannot send the rest.

    While it lasts the server does not notice when the client goes.
    """

    name: ClassVar[str] = "stop_reading"
    stage: ClassVar[Stage] = Stage.REQUEST
    wire: ClassVar[str] = "The receive window fills up to zero; then, if a time is given, the body is read after all."
    aiohttp: ClassVar[str] = (
        "A wait for the answer to a small body: SocketTimeoutError with sock_read set, else for ever. "
        "A wait to send a large one, which only `total` ends."
    )
    httpx: ClassVar[str] = "WriteTimeout for a large body, ReadTimeout for a small one."
    told: ClassVar[Told] = NEVER
    seconds: float | None = duration(None, "until reading goes on; left out: never")

    async def receive(self, body: StreamReader, accepted: Accepted) -> Conclusion:  # noqa: ARG002 (its kind's)
        accepted.stop_reading()
        await pause(self.seconds)
        accepted.read_on()
        return Conclusion.KEEP


@catalogued
@dataclass(frozen=True, slots=True)
class CloseReading(Receiving):
    """The connection ends when so much of the request's body has been read, or all of a shorter one."""

    name: ClassVar[str] = "close_reading"
    stage: ClassVar[Stage] = Stage.REQUEST
    wire: ClassVar[str] = "FIN or RST inside the request; a FIN becomes an RST if the kernel holds more of the request."
    aiohttp: ClassVar[str] = "ServerDisconnectedError or ClientOSError; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "RemoteProtocolError, ReadError or WriteError."
    told: ClassVar[Told] = failed("disconnected", "reset")
    after: int = count(0, "bytes", "of the body")
    how: str = choice("fin", "which end", "rst")

    async def receive(self, body: StreamReader, accepted: Accepted) -> Conclusion:  # noqa: ARG002 (its kind's)
        left = self.after
        while left and (data := await body.read(left)):
            left -= len(data)
        return Conclusion.FIN if self.how == "fin" else Conclusion.RST


@catalogued
@dataclass(frozen=True, slots=True)
class BeforeHeadRst(Ending):
    """RST instead of an answer, once the request has been read. No answer is computed."""

    name: ClassVar[str] = "before_head_rst"
    stage: ClassVar[Stage] = Stage.REQUEST
    wire: ClassVar[str] = "RST (SO_LINGER 0) when the request has been read."
    aiohttp: ClassVar[str] = "ClientOSError ECONNRESET; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "ReadError."
    told: ClassVar[Told] = failed("disconnected", "reset")

    async def send(self, out: Outgoing) -> None:
        out.cut(Conclusion.RST)
