"""When a connection comes back: the EOF decides, not the reader, and an exit before the EOF throws it away.

aiohttp gives a connection back when its parser meets the end of the body (`ClientResponse._response_eof`). Leaving
`async with` releases the response, and releasing one that has not met its EOF closes the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientSession, ClientTimeout

from fleetsim.exchange import Answer, ApiRequest, EventStream
from fleetsim.fleet import Fleet
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, Visit, answering, settled
from fleetsim.ledger import Ledger
from fleetsim.wire.endings import Delayed, Eager, Split

__all__ = ["BREAK_AT_DONE", "EAGER_EOF", "UNREAD_EXIT"]

LATE: Final = Delayed(seconds=0.02)
BEYOND_BUFFER = 8_000_000  # bytes; aiohttp's buffer is 64 or 256 KiB, the kernel's a few MB
STREAMS = 4


async def eager_eof(notes: Visit) -> None:
    connector = ReadableConnector()
    async with (
        Fleet(3, answer=_growing) as fleet,
        ClientSession(connector=connector, timeout=ClientTimeout()) as session,
    ):
        fleet[0].ending, fleet[1].ending, fleet[2].ending = Eager(), LATE, Eager()
        await _whole_in_one_segment(notes, fleet, connector, session)
        await _end_of_body_later(notes, fleet, connector, session)
        await _beyond_the_buffer(notes, fleet, connector, session)


def _growing(index: int) -> Answer:
    """The last server's body is beyond every buffer."""
    return answering(b"x" * (BEYOND_BUFFER if index == 2 else 64))(index)


async def _whole_in_one_segment(
    notes: Visit, fleet: Fleet, connector: ReadableConnector, session: ClientSession
) -> None:
    response = await session.get(fleet.urls[0])
    notes.step(
        "GET, head and body in one segment; nothing is read",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 1)},
        fleet={"opened": (fleet[0].ledger.opened, 1), "in flight": (fleet[0].ledger.in_flight, 0)},
        why="The parser met head and EOF in one go, and the connection was idle before get() returned.",
    )
    length = len(await response.read())
    notes.step(
        "read that response after all",
        connector={"acquired": (connector.acquired(), 0), "bytes read": (length, 64)},
        fleet={"opened": (fleet[0].ledger.opened, 1), "requests": (fleet[0].ledger.requests, 1)},
        why="The body had been buffered; reading it needs no connection.",
    )


async def _end_of_body_later(notes: Visit, fleet: Fleet, connector: ReadableConnector, session: ClientSession) -> None:
    response = await session.get(fleet.urls[1])
    ledger = fleet[1].ledger
    notes.step(
        "GET elsewhere, the last chunk 20 ms later",
        connector={"acquired": (connector.acquired(), 1), "idle": (connector.idle(), 1)},
        fleet={"opened": (ledger.opened, 1), "in flight": (ledger.in_flight, 1)},
        why="The head is in and the EOF is not, so the response holds its connection.",
    )
    await ledger.wait_for(in_flight=0)
    await settled()
    notes.step(
        "wait for the last chunk; still nothing is read",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 2)},
        fleet={"opened": (ledger.opened, 1), "in flight": (ledger.in_flight, 0)},
        why="The last chunk was parsed as it came, which gave the connection back; nobody had to read.",
    )
    response.close()


async def _beyond_the_buffer(notes: Visit, fleet: Fleet, connector: ReadableConnector, session: ClientSession) -> None:
    response = await session.get(fleet.urls[2])
    await settled()
    ledger = fleet[2].ledger
    notes.step(
        "GET elsewhere, 8 MB at once",
        connector={"acquired": (connector.acquired(), 1), "idle": (connector.idle(), 2)},
        fleet={"opened": (ledger.opened, 1), "requests": (ledger.requests, 1)},
        why="Beyond twice read_bufsize aiohttp stops reading the socket, so the EOF is not met until somebody reads.",
    )
    length = len(await response.read())
    notes.step(
        "read it",
        connector={"acquired": (connector.acquired(), 0), "bytes read": (length, BEYOND_BUFFER)},
        fleet={"opened": (ledger.opened, 1), "in flight": (ledger.in_flight, 0)},
        why="Reading made room, the EOF was met, and the connection came back.",
    )
    notes.conclusion = "released unread: whole, late; not released unread: beyond the buffer"


async def unread_exit(notes: Visit) -> None:
    connector = ReadableConnector()
    async with Fleet(3, answer=answering()) as fleet, ClientSession(connector=connector) as session:
        fleet[0].ending, fleet[1].ending, fleet[2].ending = Eager(), LATE, LATE
        for url in fleet.urls[:2] * 2:
            async with session.get(url):
                pass
        await fleet[1].ledger.wait_for(closed=2)
        _note_exits(notes, fleet, connector)
        for _ in range(2):
            async with session.get(fleet.urls[2]) as response:
                await response.read()
        notes.step(
            "the same, but read() before leaving",
            connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 2)},
            fleet={"opened": (fleet[2].ledger.opened, 1), "requests": (fleet[2].ledger.requests, 2)},
            why="read() returns at the EOF, so there was nothing left to throw away.",
        )
        notes.conclusion = _opened(fleet, "EOF met", "EOF 20 ms away", "read")


def _note_exits(notes: Visit, fleet: Fleet, connector: ReadableConnector) -> None:
    met, late = fleet[0].ledger, fleet[1].ledger
    notes.step(
        "twice `async with session.get()` without reading, the EOF met",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 1)},
        fleet={"opened": (met.opened, 1), "requests": (met.requests, 2), "closed": (met.closed, 0)},
        why="The EOF had come with the head: the exit found nothing to release, and the second request reused.",
    )
    notes.step(
        "the same, the EOF 20 ms away",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 1)},
        fleet={
            "opened": (late.opened, 2),
            "requests": (late.requests, 2),
            "closed by the client": (_by_client(late), 2),
        },
        why="The exit does not wait for an EOF however near: a connection in mid-body cannot be reused and is closed.",
    )


def _by_client(ledger: Ledger) -> int:
    return sum(record.ended_by == "client" for record in ledger.connection_records())


def _opened(fleet: Fleet, *names: str) -> str:
    pairs = zip(names, fleet, strict=True)
    return "connections opened: " + ", ".join(f"{name} {server.ledger.opened}" for name, server in pairs)


async def break_at_done(notes: Visit) -> None:
    connector = ReadableConnector()
    async with Fleet(3, answer=lambda _: _stream) as fleet, ClientSession(connector=connector) as session:
        fleet[0].ending, fleet[1].ending, fleet[2].ending = Split(), LATE, LATE
        for index, (done, opened, why) in enumerate(_BREAKS):
            for _ in range(STREAMS):
                await _read_until_done(session, fleet.urls[index], drain=index == 2)
            await fleet[index].ledger.wait_for(in_flight=0)
            ledger = fleet[index].ledger
            notes.step(
                done,
                connector={"acquired": (connector.acquired(), 0)},
                fleet={"streams": (ledger.requests, STREAMS), "opened": (ledger.opened, opened)},
                why=why,
            )
        notes.conclusion = _opened(fleet, "last chunk with [DONE]", "20 ms later", "later, and drained")


_BREAKS: Final = (
    (
        "four streams left at [DONE], the last chunk in the same segment",
        1,
        "The EOF was met together with [DONE], before the loop body saw it.",
    ),
    (
        "the same, the last chunk 20 ms later",
        STREAMS,
        "At [DONE] the EOF was still to come, so each exit closed its connection: no reuse at all.",
    ),
    (
        "the same, but read to EOF after [DONE]",
        1,
        "A read of the few bytes that are left costs 20 ms and saves the connection.",
    ),
)


async def _stream(_: ApiRequest) -> EventStream:
    return EventStream(_events())


async def _events() -> AsyncIterator[bytes]:
    yield b'data: {"text": "hello"}\n\n'
    yield b"data: [DONE]\n\n"


async def _read_until_done(session: ClientSession, url: str, *, drain: bool) -> None:
    async with session.post(url) as response:
        async for line in response.content:
            if line.startswith(b"data: [DONE]"):
                break
        if drain:
            async with asyncio.timeout(5):
                await response.content.read()


EAGER_EOF = Room(
    "eager-eof",
    "A connection is given back when the EOF of its response is parsed, read or unread, up to the read buffer.",
    eager_eof,
    "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.ClientResponse.release",
)
UNREAD_EXIT = Room(
    "unread-exit",
    "Leaving `async with` before the EOF has arrived closes the connection, even if the EOF is a moment away.",
    unread_exit,
    "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.ClientResponse.release",
)
BREAK_AT_DONE = Room(
    "break-at-done",
    "A consumer of events that stops at [DONE] loses its connection whenever the last chunk comes later.",
    break_at_done,
    "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.ClientResponse.release",
)
