"""A stream of server-sent events as an async iterator of `StreamChunk`, ending in exactly one `Response`.

Theory of operation
-------------------
A stream is whole only with a `finish_reason` or `[DONE]`; an end without either is a failure, however clean (several
known clients count it as success). What goes wrong on the wire is not raised: the last chunk carries the `Response`,
as does `Stream.response`.

The terminator of the body may come after `[DONE]`, in a segment of its own. A connection is reusable only when its
body was read to EOF, so the stream is: for `_DRAIN_SECONDS` after `[DONE]` at the most, then the answer is whole all
the same and only the connection is given up.

A stream is NEW until its request is sent, READING until its `Response` is made or it is given up, and then OVER. A try
that fails before the first text makes it FAILED, and from there NEW again or OVER.

Whoever leaves early (`break`, `aclose`, the end of `async with`, a cancelled task) aborts the connection and gives the
slot back at once; so does dropping the last reference. `Stream` refers to the `Exchange`, never the reverse, or the
tree's register of exchanges would keep a forgotten stream alive.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from swarmpool.exchange import WireFailure
from swarmpool.failures import WIRE_ERRORS, message_of, retry_after
from swarmpool.formats import Delta, ErrorEvent, Reply, ShapeError
from swarmpool.responses import FailureKind, Response, StreamChunk, TokenUsage
from swarmpool.sse import DONE, EventParser
from swarmpool.stream import Stream
from swarmpool.tools import ToolCalls

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from swarmpool.exchange import Exchange
    from swarmpool.stream_tries import StreamTries

__all__ = ["AgentStream", "StreamPlan"]

_DRAIN_SECONDS = 1.0
_EVENTS = {"accept": "text/event-stream"}

# An answer that is whole is not spoilt by what its connection does afterwards; by these it is.
_SPOILS = frozenset({FailureKind.ABANDONED, FailureKind.SHAPE, FailureKind.STATUS, FailureKind.STREAM_ERROR})


class _State(Enum):
    NEW = "NEW"
    READING = "READING"
    FAILED = "FAILED"
    OVER = "OVER"


class StreamPlan:
    """What a stream needs of its pool: its tries, how to read, how to make its result."""

    __slots__ = ("idle_timeout", "read_event", "read_whole", "result", "tries")

    def __init__(
        self,
        *,
        tries: StreamTries,
        read_event: Callable[[bytes], Delta],
        read_whole: Callable[[bytes], Reply],
        result: Callable[..., Response],
        idle_timeout: float | None,
    ) -> None:
        self.tries = tries
        self.read_event = read_event
        self.read_whole = read_whole
        self.result = result
        self.idle_timeout = idle_timeout


class AgentStream(Stream):
    """One answer of one agent: see `Stream`."""

    def __init__(self, plan: StreamPlan) -> None:
        self._response: Response | None = None
        self._plan = plan
        self._state = _State.NEW
        self._reading = False
        self._exchange: Exchange | None = None
        self._request: tuple[str, bytes] = ("", b"")
        self._body: ClientResponse | None = None
        self._parser = EventParser()
        self._chunks: deque[StreamChunk] = deque()
        self._texts: list[str] = []
        self._tool_calls = ToolCalls()
        self._logprobs: list[Any] = []
        self._done = False
        self._failure: WireFailure | None = None
        self._failed: Response | None = None
        self._finish_reason: str | None = None
        self._usage: TokenUsage | None = None
        self._tokens = 0
        self._first_token: float | None = None
        self._last_piece = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def response(self) -> Response | None:
        """The result, once there is one."""
        return self._response

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._texts)

    @property
    def tries(self) -> StreamTries:
        """What it knows of its tries."""
        return self._plan.tries

    @property
    def exchange(self) -> Exchange | None:
        """The last try's, once that has a slot."""
        return self._exchange

    async def __anext__(self) -> StreamChunk:
        """The next chunk; StopAsyncIteration after the one with the `response`."""
        if self._reading:
            raise RuntimeError("another task is reading this stream")
        while not self._chunks:
            if self._state is _State.OVER:
                raise StopAsyncIteration
            self._reading = True
            try:
                await self._step()
            except BaseException:
                self._give_up()
                raise
            finally:
                self._reading = False
        return self._chunks.popleft()

    async def aclose(self) -> None:
        """Leave the stream. One that has not ended is aborted, and its `response` is of kind `abandoned`.

        Raises RuntimeError, and changes nothing, while another task reads: cancel that task instead.
        """
        if self._reading:
            raise RuntimeError("another task is reading this stream: cancel that task to end it")
        self._give_up()

    def __del__(self) -> None:
        exchange: Exchange | None = getattr(self, "_exchange", None)  # the constructor of a subclass may have failed
        loop = getattr(self, "_loop", None)
        if exchange is None or exchange.over or loop is None:
            return
        if loop.is_closed():
            exchange.bury()
        elif threading.get_ident() == self._thread:
            self._give_up()
        else:  # the garbage collector runs in whatever thread it likes
            loop.call_soon_threadsafe(self._give_up)

    def _step(self) -> Awaitable[None]:
        if self._state is _State.NEW:
            return self._begin()
        return self._advance() if self._state is _State.READING else self._again()

    async def _begin(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        begun = await self._plan.tries.begin()
        if isinstance(begun, Response):
            self._end_with(begun)
            return
        self._exchange, self._request = begun
        self._exchange.when_cut(_weak_cut(self))
        self._last_piece = self._exchange.started
        self._state = _State.READING

    async def _again(self) -> None:
        """Begin anew after a failure before the first text, or end with it."""
        failed = self._failed
        assert failed is not None
        if not await self._plan.tries.again(failed):
            self._end_with(failed)
            return
        self._body, self._parser, self._done = None, EventParser(), False
        self._failure = self._finish_reason = self._usage = None
        self._state = _State.NEW

    async def _advance(self) -> None:
        """Send, or read one piece, within what is left of both time limits."""
        exchange = self._exchange
        assert exchange is not None
        deadline, idle = exchange.deadline, False
        if self._plan.idle_timeout is not None:
            gap_ends = asyncio.get_running_loop().time() + self._plan.idle_timeout
            idle = deadline is None or gap_ends < deadline
            deadline = gap_ends if idle else deadline
        try:
            with exchange.limit(deadline):
                await self._read(exchange)
        except WIRE_ERRORS as error:
            self._finish(exchange.explain(error, idle=idle))
            # aiohttp's reader keeps the error, whose traceback would keep this stream, dropped or not, while there is
            # another try; a cycle that only the garbage collector ends.
            error.__traceback__ = None

    async def _read(self, exchange: Exchange) -> None:
        if self._body is None:
            path, content = self._request
            self._body = body = await exchange.send("POST", path, content, _EVENTS)
            if body.status // 100 != 2 or body.content_type != "text/event-stream":
                self._take_whole(body.status, await body.read())
                self._finish(self._failure)
            return
        piece = b""
        if not self._done:
            piece = await self._body.content.readany()
            self._take(self._parser.feed(piece))
            if self._chunks:
                return  # the reader has these before the drain, which may take its time
        if self._done:
            await self._drain(self._body)
        if self._done or not piece:
            self._finish(self._failure)

    def _take_whole(self, status: int, content: bytes) -> None:
        """The answer is not a stream: an error, or a server that does not stream."""
        if status // 100 != 2:
            self._failure = WireFailure(FailureKind.STATUS, f"status {status}: {message_of(content)}")
            return
        try:
            reply = self._plan.read_whole(content)
        except ShapeError as error:
            self._failure = WireFailure(FailureKind.SHAPE, str(error))
            return
        whole = Delta(reply.text, reply.finish_reason, reply.usage)
        whole.tool_calls, whole.logprobs = reply.tool_calls, reply.logprobs
        self._add(whole)
        self._done = True

    def _take(self, events: list[bytes]) -> None:
        for data in events:
            if data == DONE:
                self._done = True
                return
            try:
                self._add(self._plan.read_event(data))
            except ErrorEvent as event:
                self._failure = WireFailure(FailureKind.STREAM_ERROR, str(event))
            except ShapeError as error:
                self._failure = WireFailure(FailureKind.SHAPE, f"an event of the stream: {error}")
            if self._failure is not None:
                self._done = True
                return

    def _add(self, delta: Delta) -> None:
        assert self._exchange is not None
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._usage = delta.usage or self._usage
        if not delta.text and delta.tool_calls is None and delta.logprobs is None:
            return
        if delta.tool_calls is not None:
            self._tool_calls.add(delta.tool_calls)
        if delta.logprobs is not None:
            self._logprobs.append(delta.logprobs)
        now = asyncio.get_running_loop().time()
        if self._first_token is None:
            self._first_token = now - self._exchange.started
        counted = self._tokens + 1 if delta.completion_tokens is None else delta.completion_tokens
        self._texts.append(delta.text)
        chunk = StreamChunk(delta.text, counted - self._tokens, now - self._last_piece)
        chunk.tool_calls, chunk.logprobs = delta.tool_calls, delta.logprobs
        self._chunks.append(chunk)
        self._tokens, self._last_piece = counted, now

    async def _drain(self, body: ClientResponse) -> None:
        """Nothing more is expected but the EOF: read on to it, so that the connection can be reused."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await body.content.readany():
                    pass
        except WIRE_ERRORS:
            pass  # the answer stands; `end` gives the connection up

    def _finish(self, failure: WireFailure | None, *, left: bool = False) -> None:
        """The try is over. If it failed before the first text it may not be the last, unless the stream was `left`."""
        exchange = self._exchange
        assert exchange is not None
        whole = self._done or self._finish_reason is not None
        if failure is None and not whole:
            failure = WireFailure(FailureKind.INCOMPLETE, "the stream ended with neither finish_reason nor [DONE]")
        elif failure is not None and whole and failure.kind not in _SPOILS:
            failure = self._failure
        exchange.end()
        body = self._body
        response = self._plan.result(
            exchange,
            text=self.text,
            status=body.status if body is not None else None,
            failure=failure,
            first_token_seconds=self._first_token,
            finish_reason=self._finish_reason,
            usage=self._usage,
            retry_after=None if body is None else retry_after(body.headers.get("Retry-After")),
        )
        response.tool_calls = self._tool_calls.whole() or None
        response.logprobs = self._logprobs or None
        if response.success or self._texts or left:
            self._end_with(response)
        else:
            self._failed, self._state = response, _State.FAILED

    def _end_with(self, response: Response) -> None:
        self._state = _State.OVER
        self._response = response = self._plan.tries.ended(response)
        self._chunks.append(StreamChunk("", 0, 0.0, response))

    def _give_up(self) -> None:
        """Left, cancelled, or refused admission: no more reading."""
        if self._state is _State.READING:
            self._finish(WireFailure(FailureKind.ABANDONED, "the stream was left before its end"), left=True)
        elif self._failed is not None and self.response is None:
            self._end_with(self._failed)
        self._state = _State.OVER
        self._chunks.clear()

    def cut(self) -> None:
        """The pool closes while nobody reads."""
        if self._state is _State.READING:
            self._finish(WireFailure(FailureKind.CLOSED, "the pool was closed while this stream was open"), left=True)


def _weak_cut(stream: AgentStream) -> Callable[[], None]:
    """`stream.cut` without keeping the stream alive."""
    reference = weakref.ref(stream)

    def cut() -> None:
        alive = reference()
        if alive is not None:
            alive.cut()

    return cut
