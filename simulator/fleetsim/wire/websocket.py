"""One websocket after its handshake: messages both ways, pings, deadlines, and the closing handshake.

Guarantees. As uvicorn 0.54 does it (protocols/websockets/websockets_sansio_impl.py): a close frame of the client's is
answered with the same one and a FIN at once; one of ours is followed by a FIN when the client has answered it, or after
10 s; a mistake of the client's, or a pong that does not come, by a FIN at once. Nothing more is read while a message
waits to be taken. The book gets one line, ended once, by whoever sent the first close frame, or else ended the
connection.

What may change it: bytes of the client's (`feed_data`), its own timers, `talk`, which sends and closes, faults, and a
server that drains. All of them run in the loop; none waits for another.

What is hard: `talk` runs on while the other side closes, so the iteration is told before the connection is closed, and
whatever `talk` still does is cancelled when the connection is lost.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import aiohttp

from fleetsim.book import Book
from fleetsim.errors import WebSocketClosedError
from fleetsim.exchange import WebSocketEnd
from fleetsim.records import ClosedHow, EndedBy, EndedHow, RequestLine
from fleetsim.wire.deflate import Deflate
from fleetsim.wire.frames import (
    INVALID_TEXT,
    FrameReader,
    Opcode,
    ProtocolError,
    Received,
    close_code,
    frame,
    whole_close,
)
from fleetsim.wire.outgoing import Pipe
from fleetsim.wire.websocket_settings import WebSocketSettings

__all__ = ["Session", "SessionPipe"]

logger = logging.getLogger("fleetsim")

# uvicorn's, in seconds.
CLOSE_TIMEOUT = 10.0

_PING_STEP = 0x9E3779B1


class SessionPipe(Pipe, Protocol):
    """What a session needs of its connection."""

    @property
    def ended(self) -> tuple[EndedBy, EndedHow] | None:
        """None while the connection stands; then who ended it, and how."""

    def stop_reading(self) -> None: ...

    def read_on(self) -> None: ...

    def fin(self) -> None: ...

    def rst(self) -> None: ...


class Session(WebSocketEnd):
    """One websocket. `run` is called once."""

    def __init__(
        self,
        pipe: SessionPipe,
        ways: WebSocketSettings,
        book: Book,
        request: RequestLine,
        deflate: Deflate | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._pipe, self._ways, self._book, self._loop, self._deflate = pipe, ways, book, loop, deflate
        self._line = book.websocket_opened(request, loop.time())
        self._reader = FrameReader(ways.max_size, deflate)
        self._inbox: deque[str | bytes] = deque()
        self._taker: asyncio.Future[None] | None = None
        self._closed: tuple[EndedBy, int] | None = None
        self._finished = loop.create_future()
        self._paused = False
        self._timers: dict[object, asyncio.TimerHandle] = {}
        self._pings = 0
        self._awaited_pong: bytes | None = None
        self._heard_at = loop.time()
        self._ambushes: dict[int, list[Callable[[], None]]] = {}
        self._is_silent = False
        self._pongs_left: int | None = None
        self._fragment: int | None = None
        self._padding = 0

    async def run(self, talk: Callable[[WebSocketEnd], Awaitable[None]]) -> None:
        """Return when the websocket is over and its connection is to end. Cancelled when that is lost."""
        self._start_timers()
        try:
            if not self._finished.done():
                await self._talk(talk)
            if (self._closed is not None or self._is_silent) and not self._finished.done():
                await self._finished
        finally:
            self._end()

    async def _talk(self, talk: Callable[[WebSocketEnd], Awaitable[None]]) -> None:
        try:
            await talk(self)
        except WebSocketClosedError:
            pass  # it spoke on, and the client had closed
        except Exception:
            logger.exception("websocket %s: the talk failed", self._line.path)

    def _end(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._pipe.fin()
        by, how = self._pipe.ended or ("server", "fin")
        code: int | None = None
        closed_how: ClosedHow = how
        if self._closed is not None:
            by, code = self._closed
            closed_how = "close"
        self._book.websocket_ended(self._line, by, closed_how, code, self._loop.time())

    # What the application does with it.

    def __aiter__(self) -> WebSocketEnd:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._inbox:
            if self._closed is not None:
                raise StopAsyncIteration
            self._take_more()
            self._taker = self._loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        return self._inbox.popleft()

    def _take_more(self) -> None:
        if self._paused and not self._is_silent:
            self._paused = False
            self._pipe.read_on()

    async def send(self, message: str | bytes) -> None:
        if not self._is_open or self._pipe.ended is not None:
            raise WebSocketClosedError(f"websocket {self._line.path}: closed, nothing can be sent")
        if isinstance(message, str):
            self._write_message(Opcode.TEXT, message.encode())
        else:
            self._write_message(Opcode.BINARY, message)
        self._book.message_out(self._line)
        try:
            await self._pipe.drain()
        except aiohttp.ClientConnectionError as error:  # what aiohttp raises to whoever waits as the connection is lost
            raise WebSocketClosedError(f"websocket {self._line.path}: lost as a message was sent") from error

    def _write_message(self, opcode: Opcode, data: bytes) -> None:
        if len(data) < self._padding:
            data = data.ljust(self._padding, b" " if opcode is Opcode.TEXT else b"\0")
        self._padding = 0
        compressed = self._deflate is not None
        if self._deflate is not None:
            data = self._deflate.deflate(data)
        start, size = 0, self._fragment or len(data)
        while len(data) - start > size:
            self._write(frame(opcode, data[start : start + size], last=False, compressed=compressed))
            opcode, start, compressed = Opcode.CONTINUATION, start + size, False
        self._write(frame(opcode, data[start:], compressed=compressed))

    def _write(self, data: bytes) -> None:
        if not self._is_silent:
            self._pipe.write(data)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.begin_close(code, reason)

    @property
    def _is_open(self) -> bool:
        """Whether neither side has closed, nor a fault ended the connection."""
        return self._closed is None and not self._finished.done()

    def begin_close(self, code: int, reason: str = "") -> None:
        """Send a close frame, if none was sent or has come, and give the client `CLOSE_TIMEOUT` to answer it."""
        if self._is_open:
            self._write(whole_close(code, reason))
            self._note_closed("server", code)
            self._take_more()
            self._later("close", CLOSE_TIMEOUT, self._finish)

    def fail(self, code: int, reason: str = "") -> None:
        """Send a close frame, if none was sent or has come, and end the connection without waiting for an answer."""
        if self._is_open:
            self._write(whole_close(code, reason))
            self._note_closed("server", code)
        self._finish()

    def shut_down(self) -> None:
        """The server drains: uvicorn says so and closes at once."""
        self.fail(1012)

    def _note_closed(self, by: EndedBy, code: int) -> None:
        self._closed = (by, code)
        self._wake()

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def _finish(self) -> None:
        self._be_finished()
        self._pipe.fin()

    def _be_finished(self) -> None:
        # The talk is told before the connection is closed: that cancels what is left of it.
        if not self._finished.done():
            self._finished.set_result(None)

    # What a fault may do to it.

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        key = object()

        def strike() -> None:
            del self._timers[key]
            work()

        self._later(key, seconds, strike)

    def when_idle(self, seconds: float, work: Callable[[], None]) -> None:
        left = self._heard_at + seconds - self._loop.time()
        if left <= 0:
            work()
        else:
            self.later(left, partial(self.when_idle, seconds, work))

    def at_message(self, number: int, work: Callable[[], None]) -> None:
        if number <= self._line.messages_in:
            work()
        else:
            self._ambushes.setdefault(number, []).append(work)

    def drop_fin(self) -> None:
        self._finish()

    def drop_rst(self) -> None:
        self._be_finished()
        self._pipe.rst()

    def fall_silent(self) -> None:
        self._is_silent = True
        self._paused = True
        self._pipe.stop_reading()

    def ignore_pings(self, *, after: int) -> None:
        self._pongs_left = after

    def fragment(self, size: int) -> None:
        self._fragment = size

    def pad_next(self, size: int) -> None:
        self._padding = size

    # What the client sends. aiohttp hands it over, as it would to a parser of its own.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take the client's bytes; nothing is ever left over."""
        try:
            for received in self._reader.feed(data):
                self._take(received)
        except ProtocolError as error:
            self.fail(error.code, error.reason)
        return False, b""

    def feed_eof(self) -> None:
        """The connection is lost, which cancels `run`."""

    def _take(self, received: Received) -> None:
        if received.opcode is Opcode.CLOSE:
            self._take_close(received.data)
        elif received.opcode is Opcode.PING:
            self._take_ping(received.data)
        elif received.opcode is Opcode.PONG:
            self._take_pong(received.data)
        elif self._is_open:
            self._take_message(received)

    def _take_ping(self, data: bytes) -> None:
        if self._pongs_left is not None:
            self._pongs_left -= 1
        if self._pongs_left is None or self._pongs_left >= 0:
            self._write(frame(Opcode.PONG, data))

    def _take_message(self, received: Received) -> None:
        message = _text(received.data) if received.opcode is Opcode.TEXT else received.data
        self._heard_at = self._loop.time()
        self._book.message_in(self._line)
        ambushes = self._ambushes.pop(self._line.messages_in, ())
        for ambush in ambushes:
            ambush()
        if not ambushes:
            self._deliver(message)

    def _deliver(self, message: str | bytes) -> None:
        self._inbox.append(message)
        if self._taker is not None:
            self._wake()
        elif not self._paused:
            self._paused = True
            self._pipe.stop_reading()

    def _take_close(self, data: bytes) -> None:
        code = close_code(data)
        if self._is_open:
            self._write(frame(Opcode.CLOSE, data))
            self._note_closed("client", code)
        self._finish()

    # Pings and deadlines.

    def _start_timers(self) -> None:
        self._plan_ping()
        if self._ways.session_deadline is not None:
            self._later("session", self._ways.session_deadline, self._close_late)
        if self._ways.idle_deadline is not None:
            self.when_idle(self._ways.idle_deadline, self._close_late)

    def _later(self, name: object, seconds: float, work: Callable[[], None]) -> None:
        earlier = self._timers.get(name)
        if earlier is not None:
            earlier.cancel()
        self._timers[name] = self._loop.call_later(seconds, work)

    def _plan_ping(self) -> None:
        if self._ways.ping_interval is not None:
            self._later("ping", self._ways.ping_interval, self._ping)

    def _ping(self) -> None:
        if not self._is_open:
            return
        # Four bytes that differ from ping to ping are all a pong is told by.
        self._pings += 1
        self._awaited_pong = struct.pack("!I", self._pings * _PING_STEP & 0xFFFFFFFF)
        self._write(frame(Opcode.PING, self._awaited_pong))
        if self._ways.ping_timeout is None:
            self._plan_ping()
        else:
            self._later("pong", self._ways.ping_timeout, self._miss_pong)

    def _take_pong(self, data: bytes) -> None:
        if data == self._awaited_pong:
            self._awaited_pong = None
            waiting = self._timers.pop("pong", None)
            if waiting is not None:
                waiting.cancel()
                self._plan_ping()

    def _miss_pong(self) -> None:
        if self._is_open:
            self.fail(1011, "keepalive ping timeout")

    def _close_late(self) -> None:
        self.begin_close(self._ways.deadline_code)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(INVALID_TEXT) from error
