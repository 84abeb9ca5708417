"""The ledger: what really happened to every connection and request, as the servers saw it.

Guarantees. Counters are exact for ever; the journal is a ring and says how many lines it has dropped. The fleet's
peaks are peaks of the sum over its servers at one instant, not sums of peaks. A connection counts as open from its
accept until its socket has gone *and* the work for its last request has stopped; a request is in flight from its head
until the last byte of its answer is with the transport, or the work for it has stopped. The request that asks for a
websocket is over with the handshake; from then on the websocket is open.

A ledger only reads (`book.py` writes), from any thread, and never sees half an event.

What is hard: nobody polls. Whoever waits is woken by the very event that brings the ledger to the wanted figures.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict, Unpack

from fleetsim.book import Book, Tally
from fleetsim.errors import LedgerTimeoutError
from fleetsim.records import ConnectionRecord, RequestRecord, WebSocketRecord

__all__ = ["Figures", "Ledger", "LedgerSnapshot", "check_figures", "has_come_to"]

_GAUGES = frozenset({"open_now", "in_flight", "websockets_open"})


class Figures(TypedDict, total=False):
    """The figures one can wait for: gauges (`open_now`, `in_flight`, `websockets_open`) exactly, others at least."""

    opened: int
    closed: int
    reused: int
    open_now: int
    peak_open: int
    requests: int
    in_flight: int
    peak_in_flight: int
    websockets: int
    websockets_open: int
    peak_websockets: int
    messages_in: int
    messages_out: int


_NAMES = tuple(Figures.__annotations__)
_QUIET_TURNS = 10
_OF_WEBSOCKETS = ("websockets", "websockets_open", "peak_websockets", "messages_in", "messages_out")


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """Every figure of a ledger at one instant. The fields are explained at `Ledger`."""

    opened: int
    closed: int
    reused: int
    open_now: int
    peak_open: int
    requests: int
    in_flight: int
    peak_in_flight: int
    requests_per_connection: Mapping[int, int]
    dropped: int
    websockets: int = 0
    websockets_open: int = 0
    peak_websockets: int = 0
    messages_in: int = 0
    messages_out: int = 0


class Ledger:
    """The account of one server (`server` is its index) or of a whole fleet (`server` is None)."""

    def __init__(self, book: Book, tally: Tally, server: int | None) -> None:
        self._book, self._tally, self._server = book, tally, server

    def __repr__(self) -> str:
        whose = "fleet" if self._server is None else f"server {self._server}"
        told = [name for name in _NAMES if self.websockets or name not in _OF_WEBSOCKETS]
        figures = ", ".join(f"{name}={getattr(self, name)}" for name in told)
        return f"<Ledger of {whose}: {figures}>"

    @property
    def opened(self) -> int:
        """Connections accepted."""
        return self._tally.opened

    @property
    def closed(self) -> int:
        """Connections ended, by whomever."""
        return self._tally.closed

    @property
    def reused(self) -> int:
        """Requests that were not the first on their connection."""
        return self._tally.reused

    @property
    def open_now(self) -> int:
        """Connections open at this instant, idle ones included."""
        return self._tally.open_now

    @property
    def peak_open(self) -> int:
        """The most connections ever open at one instant. An accept may be seen before the FIN it follows."""
        return self._tally.peak_open

    @property
    def requests(self) -> int:
        """Requests whose head has arrived whole."""
        return self._tally.requests

    @property
    def in_flight(self) -> int:
        """Requests arrived and not ended."""
        return self._tally.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests ever in flight at one instant."""
        return self._tally.peak_in_flight

    @property
    def websockets(self) -> int:
        """Websockets whose handshake was done."""
        return self._tally.websockets

    @property
    def websockets_open(self) -> int:
        """Websockets open at this instant."""
        return self._tally.websockets_open

    @property
    def peak_websockets(self) -> int:
        """The most websockets ever open at one instant."""
        return self._tally.peak_websockets

    @property
    def messages_in(self) -> int:
        """Whole messages that came on websockets, control frames left out."""
        return self._tally.messages_in

    @property
    def messages_out(self) -> int:
        """Messages sent on websockets."""
        return self._tally.messages_out

    @property
    def dropped(self) -> int:
        """Journal lines lost because the ring was full."""
        return self._tally.dropped

    @property
    def requests_per_connection(self) -> dict[int, int]:
        """How many connections carried how many requests: `{5: 2}` is two connections with five requests each."""
        with self._book.lock:
            return self._histogram()

    def snapshot(self) -> LedgerSnapshot:
        """Return all figures as they were at one instant."""
        with self._book.lock:
            return LedgerSnapshot(
                **{name: getattr(self._tally, name) for name in _NAMES},
                requests_per_connection=self._histogram(),
                dropped=self._tally.dropped,
            )

    def journal(self) -> tuple[ConnectionRecord | RequestRecord | WebSocketRecord, ...]:
        """Return the lines still in the ring, oldest first: connections by opening, requests by arrival, websockets by
        their handshake."""
        with self._book.lock:
            return tuple(line.record() for line in self._book.ring if self._server in (None, line.server))

    def connection_records(self) -> tuple[ConnectionRecord, ...]:
        """Return the journal's connections, in the order they were opened."""
        return tuple(record for record in self.journal() if isinstance(record, ConnectionRecord))

    def request_records(self) -> tuple[RequestRecord, ...]:
        """Return the journal's requests, in the order they arrived."""
        return tuple(record for record in self.journal() if isinstance(record, RequestRecord))

    def websocket_records(self) -> tuple[WebSocketRecord, ...]:
        """Return the journal's websockets, in the order their handshakes were done."""
        return tuple(record for record in self.journal() if isinstance(record, WebSocketRecord))

    async def wait_for(self, *, timeout: float | None = 5.0, **figures: Unpack[Figures]) -> None:
        """Return when the ledger holds all the `figures` at one instant; at once if it does now.

        Gauges must be equal, counters and peaks at least as high. Raises LedgerTimeoutError (a TimeoutError) with the
        wanted and the present figures after `timeout` seconds (None: never), TypeError for a figure there is not.
        Cancelling it changes nothing. Any number may wait at once, in any loop.
        """
        wanted = check_figures(figures, _NAMES)
        loop = self._book.loop
        if self._holds(wanted):
            return
        if loop is None or loop is asyncio.get_running_loop():
            await self._wait(wanted, timeout)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._wait(wanted, timeout), loop))

    def wait_for_sync(self, *, timeout: float | None = 5.0, **figures: Unpack[Figures]) -> None:
        """`wait_for` for code without a loop, while the fleet runs in a thread of its own.

        Raises what `wait_for` raises, and RuntimeError where it would block the fleet's own loop for ever.
        """
        wanted = check_figures(figures, _NAMES)
        if self._holds(wanted):
            return
        loop = self._book.loop
        if loop is None:
            raise LedgerTimeoutError(0.0, wanted, self._present(wanted))
        if self._book.thread == threading.get_ident():
            raise RuntimeError("wait_for_sync would block the fleet's own loop: use `await ledger.wait_for(...)`")
        asyncio.run_coroutine_threadsafe(self._wait(wanted, timeout), loop).result()

    def catch_up(self) -> None:
        """Return when connections that clients have made by now are in the ledger.

        For a client a connection is there before the server has accepted it. Waits for the fleet's loop, if that runs
        in another thread than this one; else it does nothing.
        """
        loop = self._book.loop
        if loop is not None and loop.is_running() and self._book.thread != threading.get_ident():
            asyncio.run_coroutine_threadsafe(self._accepted(), loop).result()

    async def _accepted(self) -> None:
        """A server accepts one connection each time the loop goes round, and a few turns later it is written down."""
        seen, quiet = self._tally.opened, 0
        while quiet < _QUIET_TURNS:
            await asyncio.sleep(0)
            seen, quiet = self._tally.opened, quiet + 1 if self._tally.opened == seen else 0

    async def changed(self, since: Mapping[str, int]) -> dict[str, int]:
        """Return the figures that `since` names, as soon as one of them is no longer what it is there.

        Cancelling it changes nothing. Any number may wait at once, in the fleet's loop.
        """
        reached = asyncio.get_running_loop().create_future()
        with self._watching(lambda: self._present(since) != since, reached):
            await reached
        return self._present(since)

    async def _wait(self, wanted: Mapping[str, int], timeout: float | None) -> None:
        reached = asyncio.get_running_loop().create_future()
        with self._watching(lambda: self._holds(wanted), reached):
            try:
                async with asyncio.timeout(timeout):
                    await reached
            except TimeoutError:
                raise LedgerTimeoutError(timeout or 0.0, wanted, self._present(wanted)) from None

    @contextmanager
    def _watching(self, come_true: Callable[[], bool], reached: asyncio.Future[None]) -> Iterator[None]:
        def look() -> None:
            if not reached.done() and come_true():
                reached.set_result(None)

        self._tally.watchers.append(look)
        look()  # it may have come true since the caller looked, when that was in another thread
        try:
            yield
        finally:
            self._tally.watchers.remove(look)

    def _holds(self, wanted: Mapping[str, int]) -> bool:
        return has_come_to(self._present(wanted), wanted)

    def _present(self, wanted: Mapping[str, int]) -> dict[str, int]:
        with self._book.lock:
            return {name: getattr(self._tally, name) for name in wanted}

    def _histogram(self) -> dict[int, int]:
        still_open = Counter(line.requests for line in self._book.open_lines if self._server in (None, line.server))
        return dict(sorted((self._tally.ended_connections + still_open).items()))


def has_come_to(present: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether the `present` figures are what is wanted: gauges equal, all others at least as high."""
    return all(present[name] == value if name in _GAUGES else present[name] >= value for name, value in wanted.items())


def check_figures(figures: Mapping[str, object], names: Sequence[str]) -> dict[str, int]:
    """Return `figures` as they are to be waited for. Raises TypeError for one that is not of `names`, or no count."""
    wanted: dict[str, int] = {}
    for name, value in figures.items():
        if name not in names:
            raise TypeError(f"the ledger has no figure {name!r}; it has {', '.join(names)}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TypeError(f"{name} must be a whole number of at least 0, got {value!r}")
        wanted[name] = value
    if not wanted:
        raise TypeError(f"wait_for needs at least one figure of {', '.join(names)}")
    return wanted
