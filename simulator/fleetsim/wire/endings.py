"""Endings: the faults that write a response, and the first set of them: the ways it stops, unary and stream alike.

An ending asks the `Outgoing` for the reply, writes what it likes of it, and says what is to become of the connection.
It is a fault of the catalogue (`fleetsim.faults.catalogue` says how to add one); more of them are in `fleetsim.faults`.

Written form, as in the request header `X-Fleet-Ending`: `name` or `name;parameter=value;parameter=value`.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from fleetsim.errors import EndingError, FaultError
from fleetsim.exchange import EventStream, Reply, Unary
from fleetsim.faults.catalogue import Fault, Stage, build, catalogued, find
from fleetsim.faults.parameters import count, duration
from fleetsim.faults.told import LATE, NEVER, WHOLE, Told, either, failed
from fleetsim.wire.outgoing import Conclusion, Framing, Outgoing

_AFTER = "of the body as framed; left out, and no chunks given either: half of it, or of the second event"
_AFTER_CHUNKS = "sent whole first, one being an event of a stream or all of another body; `after` counts from there"

__all__ = [
    "DEFAULT_ENDING",
    "BeforeHead",
    "Close",
    "Delayed",
    "Eager",
    "Ending",
    "Never",
    "Reset",
    "Split",
    "Truncated",
    "UntilClose",
    "as_ending",
    "catalogued",
    "ending_names",
    "parse_ending",
]


@dataclass(frozen=True, slots=True)
class Ending(Fault):
    """One way a response stops. Raises EndingError when made with a value its parameter does not take."""

    refusal: ClassVar[type[FaultError]] = EndingError

    @abstractmethod
    async def send(self, out: Outgoing) -> None:
        """Answer one request. Cancelled when the client goes or the server closes; nothing is to be undone then."""


def ending_names() -> tuple[str, ...]:
    """Return the names of the first set of endings, those in this module: what every client should live through."""
    return tuple(kind.name for kind in _FIRST_SET)


def parse_ending(text: str) -> Ending:
    """Return the ending that `text` describes, such as `reset` or `delayed;seconds=50ms`.

    Takes every fault that writes a response. Raises EndingError, in one sentence, for an unknown name or parameter and
    for a value that cannot be.
    """
    name, *pairs = (part.strip() for part in text.split(";"))
    kind = find(name)
    if kind is None:
        raise EndingError(f"unknown ending {name!r}; expected one of {_named()}{_MORE}")
    if not issubclass(kind, Ending):
        raise EndingError(f"{name!r} is a fault that writes no response; expected one of {_named()}{_MORE}")
    fault = build(kind, pairs)
    assert isinstance(fault, Ending)
    return fault


def as_ending(value: str | Ending | None) -> Ending:
    """Return `value` as an ending: one as it is, text parsed, None the default."""
    if isinstance(value, Ending):
        return value
    if value is None:
        return DEFAULT_ENDING
    if isinstance(value, str):
        return parse_ending(value)
    raise EndingError(f"an ending is a name, an Ending or None, got {value!r}")


@catalogued
@dataclass(frozen=True, slots=True)
class Split(Ending):
    """Head, `gap` (seconds), body: one write for the head, one for a unary body, one per event of a stream.

    With gap 0 it is what vLLM does, and the default. A client that reads slowly cannot tell it from `eager`.
    """

    name: ClassVar[str] = "split"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "Head and body leave in two writes, as vLLM's do; with a gap, in two segments that far apart."
    aiohttp: ClassVar[str] = "A whole response; the head may arrive alone."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = LATE
    gap: float = duration(0.0, "between head and body")

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        out.write(out.head(reply))
        if self.gap:
            await asyncio.sleep(self.gap)
        await _write_body(out, reply)


@catalogued
@dataclass(frozen=True, slots=True)
class Eager(Ending):
    """The whole response in one write, and so, up to the size of a segment, in one segment."""

    name: ClassVar[str] = "eager"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "Head and body leave in one write."
    aiohttp: ClassVar[str] = "A whole response; its connection is idle again as soon as the head has been parsed."
    httpx: ClassVar[str] = "A whole response."
    told: ClassVar[Told] = WHOLE

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        if isinstance(reply, Unary):
            head = out.head(reply)
            out.write(head if out.bodyless else head + reply.body)
            return
        async with aclosing(out.pieces(reply)) as pieces:
            body = [piece async for piece in pieces]
        out.write(b"".join([out.head(reply), *body]))


@catalogued
@dataclass(frozen=True, slots=True)
class Delayed(Ending):
    """The whole body in chunks at once, the last chunk (the EOF) `seconds` later.

    A unary answer goes out chunked too: behind a Content-Length the last byte is the EOF and cannot be withheld.
    """

    name: ClassVar[str] = "delayed"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The body in chunks, then a pause, then the last chunk."
    aiohttp: ClassVar[str] = (
        "The whole body at once; a read to EOF, and the release of the connection, wait for the last chunk."
    )
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = LATE
    told_of_stream: ClassVar[Told] = either("timeout")
    seconds: float = duration(0.05, "from the last byte of the body to its EOF")

    async def send(self, out: Outgoing) -> None:
        await _write_without_eof(out)
        await asyncio.sleep(self.seconds)
        out.write(out.terminator)


@catalogued
@dataclass(frozen=True, slots=True)
class Never(Ending):
    """The whole body in chunks, and no EOF until the client goes away or the server closes."""

    name: ClassVar[str] = "never"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "The body in chunks; the last chunk never comes and the connection stays open."
    aiohttp: ClassVar[str] = "The whole body, then a wait: SocketTimeoutError with sock_read set, else for ever."
    httpx: ClassVar[str] = "ReadTimeout."
    told: ClassVar[Told] = NEVER
    told_of_stream: ClassVar[Told] = either("timeout")

    async def send(self, out: Outgoing) -> None:
        await _write_without_eof(out)
        await asyncio.get_running_loop().create_future()


@catalogued
@dataclass(frozen=True, slots=True)
class Truncated(Ending):
    """FIN inside the body: behind `after_chunks` whole chunks of it, and `after` bytes more.

    Without either it cuts a unary body, or a second event, in half. The body's last byte, or last chunk, never comes.
    """

    name: ClassVar[str] = "truncated"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "FIN inside the body."
    aiohttp: ClassVar[str] = "ClientPayloadError, whatever the framing."
    httpx: ClassVar[str] = "RemoteProtocolError: peer closed connection without sending complete message body."
    told: ClassVar[Told] = failed("truncated")
    after: int | None = count(None, "bytes", _AFTER)
    after_chunks: int | None = count(None, "chunks", _AFTER_CHUNKS)

    async def send(self, out: Outgoing) -> None:
        await _write_part(out, self.after, self.after_chunks)
        out.cut(Conclusion.FIN)


@catalogued
@dataclass(frozen=True, slots=True)
class Reset(Ending):
    """RST inside the body: where `truncated` has its FIN. What the client's kernel has not taken by then is lost."""

    name: ClassVar[str] = "reset"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "RST inside the body (SO_LINGER 0)."
    aiohttp: ClassVar[str] = "ClientPayloadError; by type it cannot be told from a FIN."
    httpx: ClassVar[str] = "ReadError."
    told: ClassVar[Told] = failed("truncated", "reset")
    after: int | None = count(None, "bytes", _AFTER)
    after_chunks: int | None = count(None, "chunks", _AFTER_CHUNKS)

    async def send(self, out: Outgoing) -> None:
        # A reset throws away what is still buffered, so that the client would see no body at all.
        out.unbuffer()
        await _write_part(out, self.after, self.after_chunks)
        out.cut(Conclusion.RST)


@catalogued
@dataclass(frozen=True, slots=True)
class Close(Ending):
    """A whole response that says `connection: close`, then FIN."""

    name: ClassVar[str] = "close"
    stage: ClassVar[Stage] = Stage.AFTER
    wire: ClassVar[str] = "A whole response with `connection: close`, then FIN."
    aiohttp: ClassVar[str] = "A whole response; its connection is not reused."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE

    async def send(self, out: Outgoing) -> None:
        out.closing = True
        reply = await out.reply()
        out.write(out.head(reply))
        await _write_body(out, reply)


@catalogued
@dataclass(frozen=True, slots=True)
class UntilClose(Ending):
    """A whole response without Content-Length or chunks: its EOF is the FIN."""

    name: ClassVar[str] = "until_close"
    stage: ClassVar[Stage] = Stage.BODY
    wire: ClassVar[str] = "A whole response without content-length or chunks, then FIN."
    aiohttp: ClassVar[str] = "A whole response; one cut short could not be told from it."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        out.write(out.head(reply, Framing.UNTIL_CLOSE))
        await _write_body(out, reply, Framing.UNTIL_CLOSE)
        out.conclusion = Conclusion.FIN


@catalogued
@dataclass(frozen=True, slots=True)
class BeforeHead(Ending):
    """FIN instead of an answer, once the request has been read. No answer is computed."""

    name: ClassVar[str] = "before_head"
    stage: ClassVar[Stage] = Stage.REQUEST
    wire: ClassVar[str] = "FIN when the request has been read."
    aiohttp: ClassVar[str] = "ServerDisconnectedError; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "RemoteProtocolError: server disconnected without sending a response."
    told: ClassVar[Told] = failed("disconnected", "reset")

    async def send(self, out: Outgoing) -> None:
        out.cut(Conclusion.FIN)


DEFAULT_ENDING: Ending = Split()

_FIRST_SET: tuple[type[Ending], ...] = (
    Split,
    Eager,
    Delayed,
    Never,
    Truncated,
    Reset,
    Close,
    UntilClose,
    BeforeHead,
)
_MORE = "; `fleetsim faults` lists more"


def _named() -> str:
    return ", ".join(ending_names())


async def _write_body(out: Outgoing, reply: Reply, framing: Framing = Framing.NATURAL) -> None:
    if isinstance(reply, Unary):
        if reply.body and not out.bodyless:
            out.write(reply.body)
        return
    async with aclosing(out.pieces(reply, framing)) as pieces:
        async for piece in pieces:
            out.write(piece)
            await out.drain()


async def _write_without_eof(out: Outgoing) -> None:
    reply = await out.reply()
    out.write(out.head(reply, Framing.CHUNKED))
    async with aclosing(out.pieces(reply, Framing.CHUNKED, terminated=False)) as pieces:
        async for piece in pieces:
            out.write(piece)
            await out.drain()


async def _write_part(out: Outgoing, after: int | None, chunks: int | None) -> None:
    """Write the head and less than the whole body, never its last byte or last chunk: see `Truncated`."""
    reply = await out.reply()
    if isinstance(reply, Unary):
        # An empty body cannot be cut short, so it announces a byte that never comes.
        out.write(out.head(reply, missing=0 if reply.body else 1))
        out.write(b"" if out.bodyless else reply.body[: _unary_part(len(reply.body), after, chunks)])
        await out.drain()
    else:
        out.write(out.head(reply))
        await _write_part_of_stream(out, reply, after, chunks)


def _unary_part(length: int, after: int | None, chunks: int | None) -> int:
    if after is None and chunks is None:
        return length // 2
    return max(0, length - 1 if chunks else min(after or 0, length - 1))


async def _write_part_of_stream(out: Outgoing, reply: EventStream, after: int | None, chunks: int | None) -> None:
    whole, left = (1, None) if after is None and chunks is None else (chunks or 0, after or 0)
    async with aclosing(out.pieces(reply, terminated=False)) as pieces:
        async for piece in pieces:
            if whole:
                part, whole = len(piece), whole - 1
            else:
                left = len(piece) // 2 if left is None else left
                part = min(len(piece), left)
                left -= part
            out.write(piece[:part])
            await out.drain()
            if not whole and left == 0:
                return
