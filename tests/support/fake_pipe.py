"""A websocket's connection that notes what is done to it, and a session on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fleetsim.book import Book
from fleetsim.records import EndedBy, EndedHow
from fleetsim.wire.websocket import Session
from fleetsim.wire.websocket_settings import DEFAULT_WEBSOCKETS, WebSocketSettings

__all__ = ["FakePipe", "session_on"]


class FakePipe:
    """`timeline` is what was written, and when by `clock`; an empty write is the FIN."""

    def __init__(self, clock: Callable[[], float] = float) -> None:
        self._clock = clock
        self.timeline: list[tuple[float, bytes]] = []
        self.stopped = False
        self.ended: tuple[EndedBy, EndedHow] | None = None

    def write(self, data: bytes) -> None:
        if self.ended is None:
            self.timeline.append((self._clock(), data))

    async def drain(self) -> None:
        """There is always room."""

    def unbuffer(self) -> None:
        """Nothing is buffered."""

    def stop_reading(self) -> None:
        self.stopped = True

    def read_on(self) -> None:
        self.stopped = False

    def fin(self) -> None:
        self.write(b"")
        self.ended = self.ended or ("server", "fin")

    def rst(self) -> None:
        self.ended = self.ended or ("server", "rst")


def session_on(pipe: FakePipe, ways: WebSocketSettings = DEFAULT_WEBSOCKETS) -> Session:
    book = Book()
    book.add_part()
    request = book.arrived(book.opened(0, "peer", 0.0), "GET", "/echo", 0.0)
    return Session(pipe, ways, book, request, None, asyncio.get_running_loop())
