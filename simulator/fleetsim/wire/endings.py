"""The catalogue of endings: the ways a response stops, unary and stream alike.

An ending is a small frozen class. It asks the `Outgoing` for the reply, writes what it likes of it, and says what is to
become of the connection. Its fields are its parameters; each knows how its value is written and checks it when the
ending is made. To add one: write the class, decorate it with `catalogued`, and test what a raw socket sees.

Written form, as in the request header `X-Fleet-Ending`: `name` or `name;parameter=value;parameter=value`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from fleetsim.errors import EndingError
from fleetsim.exchange import EventStream, Reply, Unary
from fleetsim.units import parse_duration
from fleetsim.wire.outgoing import Conclusion, Framing, Outgoing

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
class Ending(ABC):
    """One way a response stops. Raises EndingError when made with a value its parameter does not take."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _read(self.name, field, getattr(self, field.name)))

    @abstractmethod
    async def send(self, out: Outgoing) -> None:
        """Answer one request. Cancelled when the client goes or the server closes; nothing is to be undone then."""


_CATALOGUE: dict[str, type[Ending]] = {}
_Kind = TypeVar("_Kind", bound=type[Ending])


def catalogued(kind: _Kind) -> _Kind:
    """Enter an ending class into the catalogue under its `name`."""
    if kind.name in _CATALOGUE:
        raise ValueError(f"the catalogue has an ending {kind.name!r} already")
    _CATALOGUE[kind.name] = kind
    return kind


def ending_names() -> tuple[str, ...]:
    """Return the names in the catalogue."""
    return tuple(_CATALOGUE)


def parse_ending(text: str) -> Ending:
    """Return the ending that `text` describes, such as `reset` or `delayed;seconds=50ms`.

    Raises EndingError, in one sentence, for an unknown name or parameter and for a value that cannot be.
    """
    name, *pairs = (part.strip() for part in text.split(";"))
    kind = _CATALOGUE.get(name)
    if kind is None:
        raise EndingError(f"unknown ending {name!r}; expected one of {', '.join(_CATALOGUE)}")
    return kind(**dict(_parameter(kind, pair) for pair in pairs if pair))


def as_ending(value: str | Ending | None) -> Ending:
    """Return `value` as an ending: one as it is, text parsed, None the default."""
    if isinstance(value, Ending):
        return value
    if value is None:
        return DEFAULT_ENDING
    if isinstance(value, str):
        return parse_ending(value)
    raise EndingError(f"an ending is a name, an Ending or None, got {value!r}")


def _parameter(kind: type[Ending], pair: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in pair.partition("="))
    names = [field.name for field in dataclasses.fields(kind)]
    if key not in names:
        expected = f"expected {', '.join(names)}" if names else "it takes none"
        raise EndingError(f"ending {kind.name!r} has no parameter {key!r}; {expected}")
    if not equals:
        raise EndingError(f"ending {kind.name!r}: expected {key}=value, got {pair!r}")
    return key, value


def _read(name: str, field: dataclasses.Field[Any], value: object) -> object:
    read: Callable[[object], object] = field.metadata["read"]
    try:
        return read(value)
    except ValueError as error:
        raise EndingError(f"ending {name!r}: {field.name}: {error}") from error


def _duration(default: float) -> Any:
    return dataclasses.field(default=default, metadata={"read": parse_duration})


def _optional_count() -> Any:
    return dataclasses.field(default=None, metadata={"read": _read_count})


def _read_count(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise ValueError(f"expected a whole number of bytes, got {value!r}")


@catalogued
@dataclass(frozen=True, slots=True)
class Split(Ending):
    """Head, `gap` (seconds), body: one write for the head, one for a unary body, one per event of a stream.

    With gap 0 it is what vLLM does, and the default. A client that reads slowly cannot tell it from `eager`.
    """

    name: ClassVar[str] = "split"
    gap: float = _duration(0.0)

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
    seconds: float = _duration(0.05)

    async def send(self, out: Outgoing) -> None:
        await _write_without_eof(out)
        await asyncio.sleep(self.seconds)
        out.write(out.terminator)


@catalogued
@dataclass(frozen=True, slots=True)
class Never(Ending):
    """The whole body in chunks, and no EOF until the client goes away or the server closes."""

    name: ClassVar[str] = "never"

    async def send(self, out: Outgoing) -> None:
        await _write_without_eof(out)
        await asyncio.get_running_loop().create_future()


@catalogued
@dataclass(frozen=True, slots=True)
class Truncated(Ending):
    """FIN inside the body: after `after` bytes of it as framed; None cuts a unary body, or a second event, in half."""

    name: ClassVar[str] = "truncated"
    after: int | None = _optional_count()

    async def send(self, out: Outgoing) -> None:
        await _write_part(out, self.after)
        out.cut(Conclusion.FIN)


@catalogued
@dataclass(frozen=True, slots=True)
class Reset(Ending):
    """RST inside the body: where `truncated` has its FIN. What the client's kernel has not taken by then is lost."""

    name: ClassVar[str] = "reset"
    after: int | None = _optional_count()

    async def send(self, out: Outgoing) -> None:
        # A reset throws away what is still buffered, so that the client would see no body at all.
        out.unbuffer()
        await _write_part(out, self.after)
        out.cut(Conclusion.RST)


@catalogued
@dataclass(frozen=True, slots=True)
class Close(Ending):
    """A whole response that says `connection: close`, then FIN."""

    name: ClassVar[str] = "close"

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

    async def send(self, out: Outgoing) -> None:
        out.cut(Conclusion.FIN)


DEFAULT_ENDING: Ending = Split()


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


async def _write_part(out: Outgoing, after: int | None) -> None:
    """Write the head and less than the whole body: at most `after` bytes of it, never its last byte or last chunk."""
    reply = await out.reply()
    if isinstance(reply, Unary):
        # An empty body cannot be cut short, so it announces a byte that never comes.
        out.write(out.head(reply, missing=0 if reply.body else 1))
        out.write(b"" if out.bodyless else reply.body[: _unary_part(len(reply.body), after)])
        await out.drain()
    else:
        out.write(out.head(reply))
        await _write_part_of_stream(out, reply, after)


async def _write_part_of_stream(out: Outgoing, reply: EventStream, after: int | None) -> None:
    sent = 0
    async with aclosing(out.pieces(reply, terminated=False)) as pieces:
        async for piece in pieces:
            part = _stream_part(len(piece), sent, after)
            out.write(piece[:part])
            await out.drain()
            sent += part
            if part < len(piece) or sent == after:
                return


def _unary_part(length: int, after: int | None) -> int:
    return length // 2 if after is None else max(0, min(after, length - 1))


def _stream_part(length: int, sent: int, after: int | None) -> int:
    if after is None:
        return length // 2 if sent else length
    return min(length, after - sent)
