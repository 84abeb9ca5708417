"""Where the fleet writes down what happens; `ledger.py` is how it is read.

One `Book` per fleet, one `Tally` per server and one for the sum. Only the fleet's loop writes. Each event is written
under one short lock, so that a reader in another thread sees all of it or nothing; nothing is awaited under the lock.
After each event whoever watches a tally it changed is called, in the fleet's loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable

from fleetsim.records import (
    ClosedHow,
    ConnectionLine,
    EndedBy,
    EndedHow,
    RequestLine,
    RequestOutcome,
    WebSocketLine,
)

__all__ = ["JOURNAL_LINES", "Book", "Tally"]

JOURNAL_LINES = 100_000


class Tally:
    """The counters of one server, or of the fleet. `watchers` are called after every change."""

    __slots__ = (
        "closed",
        "dropped",
        "ended_connections",
        "in_flight",
        "messages_in",
        "messages_out",
        "open_now",
        "opened",
        "peak_in_flight",
        "peak_open",
        "peak_websockets",
        "requests",
        "reused",
        "watchers",
        "websockets",
        "websockets_open",
    )

    def __init__(self) -> None:
        self.watchers: list[Callable[[], None]] = []
        self.start_anew()

    def start_anew(self) -> None:
        self.opened = self.closed = self.open_now = self.peak_open = 0
        self.requests = self.reused = self.in_flight = self.peak_in_flight = 0
        self.websockets = self.websockets_open = self.peak_websockets = 0
        self.messages_in = self.messages_out = 0
        self.dropped = 0
        self.ended_connections: Counter[int] = Counter()

    def count_opened(self) -> None:
        self.opened += 1
        self.open_now += 1
        self.peak_open = max(self.peak_open, self.open_now)

    def count_closed(self, requests: int) -> None:
        self.closed += 1
        self.open_now -= 1
        self.ended_connections[requests] += 1

    def count_arrived(self, reused: bool) -> None:
        self.requests += 1
        self.reused += reused
        self.in_flight = now = self.in_flight + 1
        if now > self.peak_in_flight:
            self.peak_in_flight = now

    def count_websocket(self) -> None:
        self.websockets += 1
        self.websockets_open += 1
        self.peak_websockets = max(self.peak_websockets, self.websockets_open)


class Book:
    """The account of one fleet. Connections and requests are numbered from 1 over the whole fleet."""

    def __init__(self, *, journal_lines: int = JOURNAL_LINES) -> None:
        if journal_lines < 0:
            raise ValueError(f"journal_lines must be at least 0, got {journal_lines}")
        self.lock = threading.Lock()
        self.total = Tally()
        self.parts: dict[int, Tally] = {}
        self.ring: deque[ConnectionLine | RequestLine | WebSocketLine] = deque()
        self.open_lines: dict[ConnectionLine, None] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = 0
        self._journal_lines = journal_lines

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note the loop, and so the thread, that writes from now on."""
        self.loop, self.thread = loop, threading.get_ident()

    def unbind(self) -> None:
        """The loop will write no more."""
        self.loop = None

    def add_part(self) -> Tally:
        """Return the tally of one more server, whose index is the number of parts there were."""
        return self.part(len(self.parts))

    def part(self, server: int) -> Tally:
        """Return the tally of server number `server`, a new one if it has none."""
        return self.parts.setdefault(server, Tally())

    def start_anew(self) -> bool:
        """Forget everything, and number from 1 again. Does nothing and returns False while a connection is open."""
        with self.lock:
            if self.open_lines:
                return False
            self.ring.clear()
            for tally in (self.total, *self.parts.values()):
                tally.start_anew()
        return True

    def opened(self, server: int, peer: str, now: float) -> ConnectionLine:
        """A connection was accepted."""
        part, total = self.parts[server], self.total
        with self.lock:
            total.count_opened()
            part.count_opened()
            line = ConnectionLine(total.opened, server, peer, now)
            self.open_lines[line] = None
            self._append(line)
        self._call_watchers(part)
        return line

    def closed(self, line: ConnectionLine, by: EndedBy, how: EndedHow, now: float) -> None:
        """A connection is gone, and so is the work for it."""
        part, total = self.parts[line.server], self.total
        with self.lock:
            line.ended_at, line.ended_by, line.ended_how = now, by, how
            del self.open_lines[line]
            total.count_closed(line.requests)
            part.count_closed(line.requests)
        self._call_watchers(part)

    def arrived(self, connection: ConnectionLine, method: str, path: str, now: float) -> RequestLine:
        """The head of a request is in."""
        server = connection.server
        part, total = self.parts[server], self.total
        reused = connection.requests > 0
        with self.lock:
            connection.requests += 1
            total.count_arrived(reused)
            part.count_arrived(reused)
            line = RequestLine(total.requests, server, connection.connection, connection.requests, method, path, now)
            self._append(line)
        if part.watchers or total.watchers:
            self._call_watchers(part)
        return line

    def ended(
        self, line: RequestLine, status: int | None, ending: str | None, outcome: RequestOutcome, now: float
    ) -> None:
        """A request is over: its answer is with the transport, or will never be."""
        part, total = self.parts[line.server], self.total
        with self.lock:
            line.ended_at, line.status, line.ending, line.outcome = now, status, ending, outcome
            total.in_flight -= 1
            part.in_flight -= 1
        if part.watchers or total.watchers:
            self._call_watchers(part)

    def note_fault(self, server: int, fault: str) -> None:
        """A fault begins to hold for server number `server`: connections and requests that are there have its name."""
        left = self.parts[server].in_flight
        with self.lock:
            for connection in self.open_lines:
                if connection.server == server:
                    connection.faults = (*connection.faults, fault)
            for line in reversed(self.ring):
                if not left:
                    break
                if isinstance(line, RequestLine) and line.server == server and line.ended_at is None:
                    line.faults = (*line.faults, fault)
                    left -= 1

    def websocket_opened(self, request: RequestLine, now: float) -> WebSocketLine:
        """The handshake that `request` asked for is done."""
        part, total = self.parts[request.server], self.total
        with self.lock:
            total.count_websocket()
            part.count_websocket()
            line = WebSocketLine(
                total.websockets, request.server, request.connection, request.number, request.path, now
            )
            self._append(line)
        if part.watchers or total.watchers:
            self._call_watchers(part)
        return line

    def message_in(self, line: WebSocketLine) -> None:
        """A whole message of the client's has come."""
        part, total = self.parts[line.server], self.total
        with self.lock:
            line.messages_in += 1
            total.messages_in += 1
            part.messages_in += 1
        if part.watchers or total.watchers:
            self._call_watchers(part)

    def message_out(self, line: WebSocketLine) -> None:
        """A message to the client is with the transport."""
        part, total = self.parts[line.server], self.total
        with self.lock:
            line.messages_out += 1
            total.messages_out += 1
            part.messages_out += 1
        if part.watchers or total.watchers:
            self._call_watchers(part)

    def websocket_ended(self, line: WebSocketLine, by: EndedBy, how: ClosedHow, code: int | None, now: float) -> None:
        """A websocket is over: its connection ends, or the work for it has stopped."""
        part, total = self.parts[line.server], self.total
        with self.lock:
            line.ended_at, line.ended_by, line.ended_how, line.close_code = now, by, how, code
            total.websockets_open -= 1
            part.websockets_open -= 1
        if part.watchers or total.watchers:
            self._call_watchers(part)

    def _append(self, line: ConnectionLine | RequestLine | WebSocketLine) -> None:
        self.ring.append(line)
        if len(self.ring) > self._journal_lines:
            lost = self.ring.popleft()
            self.total.dropped += 1
            self.parts[lost.server].dropped += 1

    def _call_watchers(self, part: Tally) -> None:
        for watcher in (*part.watchers, *self.total.watchers):
            watcher()
