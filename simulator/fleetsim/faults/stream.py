"""Faults of server-sent events. A unary answer is left as it is.

Events are changed as bytes, one at a time as the engine makes them: a fault never holds a stream back longer than it
says.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar

from fleetsim.exchange import EventStream
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.parameters import count, duration
from fleetsim.faults.told import LATE, WHOLE, Told, failed
from fleetsim.faults.writing import write_body, write_changed
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Outgoing

__all__ = [
    "BadJson",
    "Comments",
    "ErrorEvent",
    "MergedEvents",
    "NoDone",
    "NoFinish",
    "NoSpace",
    "SplitEvent",
    "StreamEnding",
]

Events = AsyncGenerator[bytes, None]

DONE = b"data: [DONE]\n\n"
# vLLM's, when the engine dies under a stream (entrypoints/serve/exception_handling, entrypoints/utils).
ERROR = (
    b'data: {"error":{"message":"The server had an error while processing your request.",'
    b'"type":"InternalServerError","param":null,"code":500}}\n\n'
)
COMMENT = b": keep-alive\n\n"

_FINISH = re.compile(rb'"finish_reason":"[^"]*"')
_NOT_ASCII = re.compile(rb"[\xc0-\xff][\x80-\xbf]")


@dataclass(frozen=True, slots=True)
class StreamEnding(Ending):
    """An ending that changes the events of a stream; each item of `change` leaves as one chunk in one write."""

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        if isinstance(reply, EventStream):
            await write_changed(out, reply, self.change)
        else:
            out.write(out.head(reply))
            await write_body(out, reply)

    @abstractmethod
    def change(self, events: Events) -> Events:
        """Yield what leaves in place of `events`; `data: [DONE]` is the last of them."""


@catalogued
@dataclass(frozen=True, slots=True)
class NoDone(StreamEnding):
    """A stream that ends well, without `data: [DONE]`."""

    name: ClassVar[str] = "no_done"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "All events but `data: [DONE]`, then the last chunk."
    aiohttp: ClassVar[str] = "200 and a whole body, no error: only a reader of events can tell."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE

    async def change(self, events: Events) -> Events:
        async for event in events:
            if event != DONE:
                yield event


@catalogued
@dataclass(frozen=True, slots=True)
class NoFinish(StreamEnding):
    """`data: [DONE]` without a finish_reason before it: every one is null."""

    name: ClassVar[str] = "no_finish"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = 'Every `"finish_reason":"..."` is `"finish_reason":null`.'
    aiohttp: ClassVar[str] = "200 and a whole body, no error."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE

    async def change(self, events: Events) -> Events:
        async for event in events:
            yield _FINISH.sub(b'"finish_reason":null', event)


@catalogued
@dataclass(frozen=True, slots=True)
class ErrorEvent(StreamEnding):
    """An error as an event, then `data: [DONE]`, at status 200: what vLLM does when generation fails in mid-stream."""

    name: ClassVar[str] = "error_event"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "So many events, an event with vLLM's error object, `data: [DONE]`, the last chunk."
    aiohttp: ClassVar[str] = "200 and a whole body, no error: only a reader of events can tell."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE
    told_of_stream: ClassVar[Told] = failed("stream_error")
    after: int = count(1, "events", "before the error; a shorter stream has it before its `[DONE]`")

    async def change(self, events: Events) -> Events:
        left = self.after
        async for event in events:
            if not left or event == DONE:
                break
            left -= 1
            yield event
        yield ERROR
        yield DONE


@catalogued
@dataclass(frozen=True, slots=True)
class BadJson(StreamEnding):
    """An event whose JSON is cut off in its middle; the others are well."""

    name: ClassVar[str] = "bad_json"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "One event's data is only its first half."
    aiohttp: ClassVar[str] = "200 and a whole body, no error: only a parser of events can tell."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE
    told_of_stream: ClassVar[Told] = failed("shape")
    event: int = count(1, "events", "which one, from 1", least=1)

    async def change(self, events: Events) -> Events:
        number = 0
        async for event in events:
            number += 1
            yield _half(event) if number == self.event and event != DONE else event


@catalogued
@dataclass(frozen=True, slots=True)
class SplitEvent(StreamEnding):
    """Each event in two chunks and two writes: inside its first character beyond ASCII, or in its middle."""

    name: ClassVar[str] = "split_event"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = (
        "Half an event, a pause, its other half; the cut lies inside a UTF-8 character if there is one."
    )
    aiohttp: ClassVar[str] = "The same events in other pieces: `iter_any` hands out halves."
    httpx: ClassVar[str] = "The same events in other pieces: `aiter_raw` hands out halves."
    told: ClassVar[Told] = WHOLE
    told_of_stream: ClassVar[Told] = LATE
    seconds: float = duration(0.001, "between the two")

    async def change(self, events: Events) -> Events:
        async for event in events:
            cut = _cut(event)
            yield event[:cut]
            await asyncio.sleep(self.seconds)
            yield event[cut:]


@catalogued
@dataclass(frozen=True, slots=True)
class MergedEvents(StreamEnding):
    """Several events in one chunk and one write."""

    name: ClassVar[str] = "merged_events"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "So many events in one write; the first waits for the last of them."
    aiohttp: ClassVar[str] = "The same events, several in one piece."
    httpx: ClassVar[str] = "The same events, several in one piece."
    told: ClassVar[Told] = WHOLE
    size: int = count(8, "events", "in each write", least=1)

    async def change(self, events: Events) -> Events:
        batch: list[bytes] = []
        async for event in events:
            batch.append(event)
            if len(batch) == self.size:
                yield b"".join(batch)
                batch.clear()
        if batch:
            yield b"".join(batch)


@catalogued
@dataclass(frozen=True, slots=True)
class Comments(StreamEnding):
    """Comment lines before each event, as vLLM sends with --sse-keep-alive-interval."""

    name: ClassVar[str] = "comments"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "`: keep-alive` and an empty line, in a write of its own, before each event."
    aiohttp: ClassVar[str] = "A whole body with comments in it, which a reader of events has to pass over."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE
    times: int = count(1, "comments", "before each event", least=1)

    async def change(self, events: Events) -> Events:
        async for event in events:
            for _ in range(self.times):
                yield COMMENT
            yield event


@catalogued
@dataclass(frozen=True, slots=True)
class NoSpace(StreamEnding):
    """`data:` without a space behind it, which the standard of server-sent events allows."""

    name: ClassVar[str] = "no_space"
    stage: ClassVar[Stage] = Stage.STREAM
    wire: ClassVar[str] = "`data:{...}` and `data:[DONE]`."
    aiohttp: ClassVar[str] = "A whole body; a reader that looks for `data: ` finds no event in it."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = WHOLE

    async def change(self, events: Events) -> Events:
        async for event in events:
            yield event.replace(b"data: ", b"data:", 1)


def _half(event: bytes) -> bytes:
    data = event.removesuffix(b"\n\n")
    return data[: len(b"data: ") + (len(data) - len(b"data: ")) // 2] + b"\n\n"


def _cut(event: bytes) -> int:
    found = _NOT_ASCII.search(event)
    return len(event) // 2 if found is None else found.start() + 1
