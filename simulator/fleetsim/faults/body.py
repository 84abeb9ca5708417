"""Faults of the body's framing, pace and end."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from fleetsim.exchange import Reply, Unary
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.parameters import choice, count, duration
from fleetsim.faults.told import LATE, NEVER, WHOLE, Told, either, failed, never
from fleetsim.faults.writing import content, head_of_length, write_paused, write_sliced
from fleetsim.wire import heads
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Conclusion, Framing, Outgoing

__all__ = [
    "BadChunkSize",
    "Bandwidth",
    "Dribble",
    "Endless",
    "Hang",
    "LengthTooLong",
    "LengthTooShort",
    "NoLastChunk",
    "SecondResponse",
    "Stall",
    "WrongEncoding",
]

# Slices per second of a capped bandwidth.
_SLICES = 20
# What a JSON document and an event stream may go on with for ever.
_JSON_FILLER, _STREAM_FILLER = b" ", b":\n\n"


@catalogued
@dataclass(frozen=True, slots=True)
class LengthTooLong(Ending):
    """Content-Length announces more than comes. The connection stays open and idle.

    A stream is sent whole behind a Content-Length, as it is by every fault of the length.
    """

    name: ClassVar[str] = "length_too_long"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The whole body behind a content-length that is too long, then silence; FIN when idle."
    aiohttp: ClassVar[str] = "A wait: SocketTimeoutError with sock_read set, else ClientPayloadError at the FIN."
    httpx: ClassVar[str] = "ReadTimeout, or RemoteProtocolError at the FIN."
    told: ClassVar[Told] = never("truncated")
    told_of_stream: ClassVar[Told] = either("timeout", "truncated")
    by: int = count(10, "bytes", "announced and not sent", least=1)

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        body = await content(out, reply)
        out.write(head_of_length(out, reply, _true_length(reply, body) + self.by) + body)


@catalogued
@dataclass(frozen=True, slots=True)
class LengthTooShort(Ending):
    """Content-Length announces less than comes: the surplus lies in front of the next response."""

    name: ClassVar[str] = "length_too_short"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The whole body behind a content-length that is too short, in one write."
    aiohttp: ClassVar[str] = (
        "ClientResponseError 400, bad status line; the body cut off and no error where the surplus comes later."
    )
    httpx: ClassVar[str] = "The body cut off, no error; RemoteProtocolError (illegal status line) for the next request."
    told: ClassVar[Told] = failed("protocol", "shape")
    told_of_stream: ClassVar[Told] = either("protocol", "shape")
    by: int = count(10, "bytes", "sent and not announced", least=1)

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        body = await content(out, reply)
        out.write(head_of_length(out, reply, max(_true_length(reply, body) - self.by, 0)) + body)


@catalogued
@dataclass(frozen=True, slots=True)
class NoLastChunk(Ending):
    """The whole body in chunks and a FIN in place of the last chunk."""

    name: ClassVar[str] = "no_last_chunk"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The whole body in chunks, then FIN without the last chunk."
    aiohttp: ClassVar[str] = "ClientPayloadError (TransferEncodingError), when the whole body has been handed out."
    httpx: ClassVar[str] = "RemoteProtocolError: incomplete chunked read."
    told: ClassVar[Told] = failed("truncated")
    told_of_stream: ClassVar[Told] = either("truncated")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        out.write(out.head(reply, Framing.CHUNKED))
        async with aclosing(out.pieces(reply, Framing.CHUNKED, terminated=False)) as pieces:
            async for piece in pieces:
                out.write(piece)
                await out.drain()
        out.cut(Conclusion.FIN)


@catalogued
@dataclass(frozen=True, slots=True)
class BadChunkSize(Ending):
    """The first chunk's size is no number, then FIN."""

    name: ClassVar[str] = "bad_chunk_size"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "A head that promises chunks, the body with `oops` as the first chunk's size, then FIN."
    aiohttp: ClassVar[str] = "ClientPayloadError, or ClientResponseError 400 if it comes together with the head."
    httpx: ClassVar[str] = "RemoteProtocolError: illegal chunk header."
    told: ClassVar[Told] = failed("protocol", "truncated")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        body = await content(out, reply)
        out.write(out.head(reply, Framing.CHUNKED))
        out.write(b"" if out.bodyless else b"oops\r\n" + body + b"\r\n")
        out.cut(Conclusion.FIN)


@catalogued
@dataclass(frozen=True, slots=True)
class Stall(Ending):
    """The body pauses. Stalls add up; beside another ending a stall comes before its first byte."""

    name: ClassVar[str] = "stall"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "Silence inside the body, then the rest of it."
    aiohttp: ClassVar[str] = "A whole response, late; SocketTimeoutError if sock_read is shorter."
    httpx: ClassVar[str] = "A whole response, late; ReadTimeout if the read timeout is shorter."
    told: ClassVar[Told] = LATE
    seconds: float = duration(1.0, "how long")
    after: int = count(0, "bytes", "of the body as framed; a body that is shorter does not stall")

    async def send(self, out: Outgoing) -> None:
        await write_paused(out, await out.reply(), [(self.after, self.seconds)])

    async def wait(self) -> None:
        """Return when it is over. Cancelling it is harmless."""
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Stalls(Ending):
    """Several stalls in one response. Not in the catalogue: it is what several chosen ones come to."""

    name: ClassVar[str] = Stall.name
    stalls: tuple[Stall, ...] = dataclasses.field(default=(), metadata={"read": tuple})

    async def send(self, out: Outgoing) -> None:
        await write_paused(out, await out.reply(), [(each.after, each.seconds) for each in self.stalls])


@catalogued
@dataclass(frozen=True, slots=True)
class Hang(Ending):
    """The body stops and the connection stays open, until the client goes or the server closes."""

    name: ClassVar[str] = "hang"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "Silence inside the body, for ever."
    aiohttp: ClassVar[str] = "A wait: SocketTimeoutError with sock_read set, else for ever."
    httpx: ClassVar[str] = "ReadTimeout."
    told: ClassVar[Told] = NEVER
    after: int = count(0, "bytes", "of the body as framed; a body that is shorter does not hang")

    async def send(self, out: Outgoing) -> None:
        await write_paused(out, await out.reply(), [(self.after, None)])


@catalogued
@dataclass(frozen=True, slots=True)
class Endless(Ending):
    """The body in chunks, and then what it may lawfully go on with for ever: spaces, or empty comments of a stream."""

    name: ClassVar[str] = "endless"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The body in chunks, then a chunk of filler every so often; never a last chunk."
    aiohttp: ClassVar[str] = "Bytes for ever: sock_read never strikes, only a total timeout does."
    httpx: ClassVar[str] = "Bytes for ever: the read timeout never strikes, and there is no total one."
    told: ClassVar[Told] = NEVER
    told_of_stream: ClassVar[Told] = either("timeout")
    size: int = count(64, "bytes", "of filler in each chunk, at least; whole comments for a stream", least=1)
    seconds: float = duration(0.01, "between two chunks of filler")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        out.write(out.head(reply, Framing.CHUNKED))
        if out.bodyless:
            return
        async with aclosing(out.pieces(reply, Framing.CHUNKED, terminated=False)) as pieces:
            async for piece in pieces:
                out.write(piece)
                await out.drain()
        filler = _JSON_FILLER if isinstance(reply, Unary) else _STREAM_FILLER
        while True:
            await asyncio.sleep(self.seconds)
            out.write(heads.chunk(filler * -(-self.size // len(filler))))
            await out.drain()


@catalogued
@dataclass(frozen=True, slots=True)
class Dribble(Ending):
    """The body in small pieces with a pause behind each."""

    name: ClassVar[str] = "dribble"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "So many bytes of the body in a segment, a pause, the next."
    aiohttp: ClassVar[str] = "A whole response, late: sock_read does not strike while the pauses are shorter."
    httpx: ClassVar[str] = "A whole response, late."
    told: ClassVar[Told] = LATE
    size: int = count(1, "bytes", "in each piece", least=1)
    seconds: float = duration(0.01, "behind each piece")

    async def send(self, out: Outgoing) -> None:
        await _write_slowly(out, self.size, self.seconds)


@catalogued
@dataclass(frozen=True, slots=True)
class Bandwidth(Ending):
    """The body no faster than so many bytes per second, in up to 20 pieces a second."""

    name: ClassVar[str] = "bandwidth"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The body in pieces, each followed by the time it takes at that rate."
    aiohttp: ClassVar[str] = "A whole response, late."
    httpx: ClassVar[str] = "A whole response, late."
    told: ClassVar[Told] = LATE
    rate: int = count(10_000, "bytes per second", "of the body as framed", least=1)

    async def send(self, out: Outgoing) -> None:
        size = max(self.rate // _SLICES, 1)
        await _write_slowly(out, size, size / self.rate)


@catalogued
@dataclass(frozen=True, slots=True)
class WrongEncoding(Ending):
    """The head claims a compression that the body has not."""

    name: ClassVar[str] = "wrong_encoding"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "`content-encoding` in the head, the body as it is."
    aiohttp: ClassVar[str] = "ClientPayloadError (ContentEncodingError): can not decode content-encoding."
    httpx: ClassVar[str] = "DecodingError."
    told: ClassVar[Told] = failed("protocol")
    encoding: str = choice("gzip", "claimed", "deflate")

    async def send(self, out: Outgoing) -> None:
        out.extra += b"content-encoding: %b\r\n" % self.encoding.encode()
        await write_paused(out, await out.reply(), ())


@catalogued
@dataclass(frozen=True, slots=True)
class SecondResponse(Ending):
    """A second response right behind the first, that nobody asked for: the next request may take it for its own."""

    name: ClassVar[str] = "second_response"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "Two whole responses: in one write, or the second after a pause."
    aiohttp: ClassVar[str] = (
        "The first response. In one write the connection is not reused; else the next request gets the second."
    )
    httpx: ClassVar[str] = "The first response; the next request on that connection gets the second one."
    told: ClassVar[Told] = WHOLE
    seconds: float = duration(0.0, "between the two")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        body = await content(out, reply)
        first = head_of_length(out, reply, _true_length(reply, body)) + body
        second = heads.head(200, length=len(_UNSOLICITED), content_type="application/json") + _UNSOLICITED
        if not self.seconds:
            out.write(first + second)
            return
        out.write(first)
        await asyncio.sleep(self.seconds)
        out.write(second)


_UNSOLICITED = b'{"unsolicited":true}'


async def _write_slowly(out: Outgoing, size: int, seconds: float) -> None:
    reply = await out.reply()
    out.write(out.head(reply))
    async with aclosing(out.pieces(reply)) as pieces:
        async for piece in pieces:
            await write_sliced(out, piece, size, seconds)


def _true_length(reply: Reply, body: bytes) -> int:
    # In answer to HEAD the length of the body that a GET would have had.
    return len(reply.body) if isinstance(reply, Unary) else len(body)
