"""One accepted connection: its requests in order, its idle timer, and how it ended.

Guarantees. One request at a time, pipelined ones in the order they came. An idle timer runs only between a response and
the first byte of the next request: a fresh connection and half a head are never timed out (uvicorn). A client that
closes, or half-closes, cancels the work for its request at once. Each connection is written into the book once when it
opens and once when both its socket and its task are gone.

What may change it: the transport's callbacks, the idle timer, and `end_now` when the server closes. Whoever ends the
connection first is noted, and nobody after.

What is hard: the socket (`connection_lost`) and the task (`start`) end in either order, so each, when done, looks for
the other (`_over_when_both_gone`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING

from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from fleetsim.faults.catalogue import Fault
from fleetsim.faults.kinds import Connecting
from fleetsim.records import UNIX_PEER, ConnectionLine, EndedBy, EndedHow, RequestOutcome
from fleetsim.wire import heads
from fleetsim.wire.aiohttp_seam import SeamConnection
from fleetsim.wire.handshake import asks_for_websocket
from fleetsim.wire.outgoing import Conclusion
from fleetsim.wire.turn import Turn
from fleetsim.wire.upgrade import UpgradeTurn
from fleetsim.wire.websocket import Session

if TYPE_CHECKING:
    from fleetsim.wire.listener import Listener

__all__ = ["Connection"]

_KEEP, _RST = Conclusion.KEEP, Conclusion.RST  # Python 3.11 looks members of an enum up slowly
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(SeamConnection):
    """One accepted connection. Made by its listener; lives in the listener's loop."""

    __slots__ = (
        "_ambush",
        "_busy",
        "_cancelled",
        "_ended",
        "_idle_due",
        "_idle_timer",
        "_line",
        "_listener",
        "_lost",
        "_session",
        "_settings",
        "_struck",
        "_task",
        "_timers",
        "_wire",
    )

    _line: ConnectionLine
    _wire: asyncio.Transport

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(listener, loop)
        self._listener, self._settings = listener, listener.settings
        self._ended: tuple[EndedBy, EndedHow] | None = None
        self._lost = self._busy = self._cancelled = self._struck = False
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._idle_due: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._ambush: Callable[[], None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # The transport's side.

    def opened(self, transport: asyncio.Transport) -> None:
        """The listener has accepted it; nothing has been read."""
        self._wire = transport
        self._line = self._listener.book.opened(self._listener.server, _peer(transport), self.loop.time())
        if self._settings.rules is not None:
            self._strike(self._settings.rules.for_connection(self._line))

    def _strike(self, faults: Sequence[Fault]) -> None:
        connecting = [fault for fault in faults if isinstance(fault, Connecting)]
        self._line.faults = tuple(fault.name for fault in connecting)
        for fault in connecting:
            fault.accept(self)

    def data_received(self, data: bytes) -> None:
        if data:
            self._idle_due = None
            if self._struck and self._ward_off():
                return
        super().data_received(data)

    def eof_received(self) -> None:
        """uvicorn takes a half-close for a disconnect: returning None closes the transport."""
        self._note_end("client", "fin")
        self._cancel_work()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._note_end(*(("server", "fin") if exc is None else ("client", "rst")))
        self._lost = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._cancel_timers()
        super().connection_lost(exc)
        self._cancel_work()
        self._over_when_both_gone()

    def shaken(self, version: str | None) -> None:
        """The TLS handshake is done."""
        self._line.tls = version

    def broken(self, by: EndedBy) -> None:
        """One side has refused the other's TLS: nothing more can be said."""
        self._note_end(by, "fin")
        self._wire.close()

    def end_now(self) -> None:
        """Close at once and stop the work for its request."""
        self._note_end("server", "fin")
        self._wire.abort()
        self._cancel_work()

    def cut(self) -> None:
        """End as the kernel ends it for a process that is gone: an RST where something has come that nobody read."""
        self._note_end("server", "rst" if self._has_unread() else "fin")
        self._wire.abort()
        self._cancel_work()

    def _has_unread(self) -> bool:
        sock = None if self._lost else self._wire.get_extra_info("socket")
        return sock is not None and ioctl(sock.fileno(), FIONREAD, bytes(4)) != bytes(4)

    def end_when_idle(self) -> None:
        """Close at once if no request is in flight; if one is, `draining` makes its response the last."""
        if self._session is not None:
            self._session.shut_down()
        elif not self._busy:
            self.fin()

    # What a fault may do to it; `fin` and `rst` serve the rest of this class as well.

    def stop_reading(self) -> None:
        self._wire.pause_reading()

    def read_on(self) -> None:
        self._wire.resume_reading()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        if not self.has_message:
            self._struck = True
            self._timers.append(self.loop.call_later(seconds, work))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _ward_off(self) -> bool:
        """Bytes have come on a connection that a fault has armed; return whether they are to be thrown away."""
        self._cancel_timers()
        if self._ambush is None:
            return False
        self._ambush()
        return True

    def at_next_request(self, work: Callable[[], None]) -> None:
        self._struck, self._ambush = True, work
        if self.has_message:
            work()

    def shut_writing(self) -> None:
        if self.has_message:
            self.fin()  # a request that is there already would be answered
            return
        self._note_end("server", "fin")
        self._struck, self._ambush = True, _nothing
        self._wire.write_eof()

    def fin(self) -> None:
        self._note_end("server", "fin")
        self._wire.close()

    def rst(self) -> None:
        # A Unix socket knows no reset: its peer sees an end as after a FIN.
        self._note_end("server", "fin" if _is_unix(self._wire) else "rst")
        sock = self._wire.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._wire.abort()

    def _note_end(self, by: EndedBy, how: EndedHow) -> None:
        if self._ended is None:
            self._ended = (by, how)

    def _cancel_work(self) -> None:
        # Once only: a second cancellation would strike the clean-up that the first one started.
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def _over_when_both_gone(self) -> None:
        if self._lost and self._task is None and self._ended is not None:
            if self._idle_timer is not None:
                self._idle_timer.cancel()  # an answer that did not stop when the client went has ended after it
            self._listener.book.closed(self._line, *self._ended, self.loop.time())
            self._listener.connection_over(self)

    # What a `Turn` writes to; `drain` is aiohttp's.

    def write(self, data: bytes) -> None:
        if data and not self._wire.is_closing():
            self._wire.write(data)

    def unbuffer(self) -> None:
        self._wire.set_write_buffer_limits(high=0)

    @property
    def ended(self) -> tuple[EndedBy, EndedHow] | None:
        return self._ended

    @property
    def gone(self) -> RequestOutcome | None:
        if self._ended is None:
            return None
        return "client_gone" if self._ended[0] == "client" else "server_closed"

    # The idle timer.

    def _start_idling(self) -> None:
        timeout = self._settings.keepalive_timeout
        if timeout is None:
            return
        self._idle_due = due = self.loop.time() + timeout
        timer = self._idle_timer
        # An earlier timer runs on and looks at the due time when it fires: no timer is made per request.
        if timer is None or timer.when() > due:
            if timer is not None:
                timer.cancel()
            self._idle_timer = self.loop.call_at(due, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_timer = None
        if self._idle_due is None:
            return
        if self.loop.time() < self._idle_due:
            self._idle_timer = self.loop.call_at(self._idle_due, self._check_idle)
        else:
            self.fin()

    # The requests, one after the other.

    async def start(self) -> None:
        """Serve until the connection ends. aiohttp runs it as the connection's one task."""
        if self._wire.is_closing():
            return  # ended as it was accepted: `connection_lost` alone writes it into the book
        self._task = asyncio.current_task()
        try:
            while not self._lost and await self._serve_one():
                if not self.has_message:
                    self._start_idling()
        finally:
            self._task = None
            self.fin()
            self._over_when_both_gone()

    async def _serve_one(self) -> bool:
        """Answer the next request; return whether the connection is kept."""
        message, body = await self.next_message()
        self._idle_due = None
        if message is None:
            self.write(heads.invalid_request())
            return False
        self._busy = True
        if message.upgrade and asks_for_websocket(message):
            return await self._serve_websocket(message, body)
        turn = Turn(self, self._settings, self._listener.book, self._line, message, body, self.loop)
        conclusion = await turn.run()
        self._busy = False
        if conclusion is _RST:
            self.rst()
        elif turn.plan is not None and conclusion is _KEEP:
            turn.plan.arm(self)
            return not self._wire.is_closing()
        return conclusion is _KEEP

    async def _serve_websocket(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Answer a request for a websocket, serve that if it is granted, and return that the connection is over."""
        turn = UpgradeTurn(self, self._settings, self._listener.book, self._line, message, body, self.loop)
        conclusion = await turn.run()
        if conclusion is Conclusion.RST:
            self.rst()
        elif conclusion is Conclusion.KEEP and turn.talk is not None and not self._wire.is_closing():
            book, ways = self._listener.book, self._settings.websockets
            self._session = session = Session(self, ways, book, turn.line, turn.deflate, self.loop)
            for fault in turn.talking:
                fault.begin(session)
            self.hand_over(session)
            await session.run(turn.talk)
        return False


def _is_unix(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX


def _nothing() -> None:
    """What comes after a half-close is thrown away."""


def _peer(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    if _is_unix(transport):
        return UNIX_PEER
    if not name:
        return "unknown"
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
