"""Faults of the response's head."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from fleetsim.exchange import Reply
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Delay as DelayKind
from fleetsim.faults.parameters import count, duration
from fleetsim.faults.told import LATE, WHOLE, Told, either, failed
from fleetsim.faults.writing import write_body, write_sliced
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Conclusion, Outgoing

__all__ = ["BadHeader", "Delay", "GarbageStatus", "HeadDribble", "HeadFin", "HeadRst", "Informational", "LongHeader"]


@catalogued
@dataclass(frozen=True, slots=True)
class Delay(DelayKind):
    """The response begins late. Delays add up."""

    name: ClassVar[str] = "delay"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "Silence, then the response."
    aiohttp: ClassVar[str] = "A whole response, late; SocketTimeoutError if sock_read is shorter."
    httpx: ClassVar[str] = "A whole response, late; ReadTimeout if the read timeout is shorter."
    told: ClassVar[Told] = LATE
    seconds: float = duration(1.0, "before the first byte of the response, on top of the engine's own time")

    async def wait(self) -> None:
        await asyncio.sleep(self.seconds)


@catalogued
@dataclass(frozen=True, slots=True)
class HeadDribble(Ending):
    """The head in small pieces with a pause behind each; then the body."""

    name: ClassVar[str] = "head_dribble"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "So many bytes of the head in a segment, a pause, the next."
    aiohttp: ClassVar[str] = "A whole response, late: sock_read does not strike while the pauses are shorter."
    httpx: ClassVar[str] = "A whole response, late."
    told: ClassVar[Told] = LATE
    size: int = count(1, "bytes", "in each piece", least=1)
    seconds: float = duration(0.001, "behind each piece")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        await write_sliced(out, out.head(reply), self.size, self.seconds)
        await write_body(out, reply)


@catalogued
@dataclass(frozen=True, slots=True)
class HeadFin(Ending):
    """FIN inside the head."""

    name: ClassVar[str] = "head_fin"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "Part of the head, then FIN."
    aiohttp: ClassVar[str] = "ServerDisconnectedError; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "RemoteProtocolError."
    told: ClassVar[Told] = failed("disconnected", "reset")
    after: int | None = count(None, "bytes", "of the head, less than all of it; left out: half of it")

    async def send(self, out: Outgoing) -> None:
        out.write(_part(out, await out.reply(), self.after))
        out.cut(Conclusion.FIN)


@catalogued
@dataclass(frozen=True, slots=True)
class HeadRst(Ending):
    """RST inside the head. What the client's kernel has not taken by then is lost."""

    name: ClassVar[str] = "head_rst"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "Part of the head, then RST (SO_LINGER 0)."
    aiohttp: ClassVar[str] = "ClientOSError ECONNRESET; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "ReadError."
    told: ClassVar[Told] = failed("disconnected", "reset")
    after: int | None = count(None, "bytes", "of the head, less than all of it; left out: half of it")

    async def send(self, out: Outgoing) -> None:
        out.unbuffer()
        out.write(_part(out, await out.reply(), self.after))
        await out.drain()
        out.cut(Conclusion.RST)


@catalogued
@dataclass(frozen=True, slots=True)
class GarbageStatus(Ending):
    """A first line that is no status line; what follows is as usual. The connection is kept."""

    name: ClassVar[str] = "garbage_status"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "`garbage` in place of the status line, then headers and body."
    aiohttp: ClassVar[str] = "ClientResponseError 400: bad status line."
    httpx: ClassVar[str] = "RemoteProtocolError: illegal status line."
    told: ClassVar[Told] = failed("protocol")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        _, line_end, headers = out.head(reply).partition(b"\r\n")
        out.write(b"garbage" + line_end + headers)
        await write_body(out, reply)


@catalogued
@dataclass(frozen=True, slots=True)
class LongHeader(Ending):
    """One header longer than a client may take."""

    name: ClassVar[str] = "long_header"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "`x-long: aaa...` as one more header."
    aiohttp: ClassVar[str] = "ClientResponseError 400 beyond 8,190 bytes (max_field_size); else a whole response."
    httpx: ClassVar[str] = "RemoteProtocolError beyond 100 KiB of head; else a whole response."
    told: ClassVar[Told] = either("protocol")
    size: int = count(10_000, "bytes", "of the header's value", least=1)

    async def send(self, out: Outgoing) -> None:
        out.extra += b"x-long: %b\r\n" % (b"a" * self.size)
        await _write_whole(out)


@catalogued
@dataclass(frozen=True, slots=True)
class Informational(Ending):
    """Informational responses (1xx) before the real one."""

    name: ClassVar[str] = "informational"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "So many `103 Early Hints` heads in one write, then the response."
    aiohttp: ClassVar[str] = "A whole response: 1xx are passed over (all but 101)."
    httpx: ClassVar[str] = "A whole response: 1xx are passed over."
    told: ClassVar[Told] = WHOLE
    times: int = count(1, "responses", "before the real one", least=1)

    async def send(self, out: Outgoing) -> None:
        out.write(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n" * self.times)
        await _write_whole(out)


@catalogued
@dataclass(frozen=True, slots=True)
class BadHeader(Ending):
    """A header line that is none: a name with a space in it and no colon. The connection is kept."""

    name: ClassVar[str] = "bad_header"
    stage: ClassVar[Stage] = Stage.HEAD
    wire: ClassVar[str] = "`not a header` as one more line of the head."
    aiohttp: ClassVar[str] = "ClientResponseError 400: invalid header."
    httpx: ClassVar[str] = "RemoteProtocolError: illegal header line."
    told: ClassVar[Told] = failed("protocol")

    async def send(self, out: Outgoing) -> None:
        out.extra += b"not a header\r\n"
        await _write_whole(out)


async def _write_whole(out: Outgoing) -> None:
    reply = await out.reply()
    out.write(out.head(reply))
    await write_body(out, reply)


def _part(out: Outgoing, reply: Reply, after: int | None) -> bytes:
    head = out.head(reply)
    return head[: len(head) // 2 if after is None else min(after, len(head) - 1)]
