"""What closing a session does to those who read, and what is said about a session that nobody closed."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import ClientResponse, ClientSession, ClientTimeout

from fleetsim.fleet import Fleet
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, Visit, answering, background, settled
from fleetsim.proofs.complaints import Complaints, listening
from fleetsim.wire.endings import Eager, Never

__all__ = ["READER_HANGS", "UNCLOSED"]

NOTHING, SESSION, CONNECTOR = "nothing", "Unclosed client session", "Unclosed connector"
CONNECTION = "Unclosed connection"
_UNCLOSED = re.compile("ResourceWarning: (Unclosed (?:client session|connector|connection|response))\\b")


async def reader_hangs(notes: Visit) -> None:
    async with Fleet(1, answer=answering(), ending=Never()) as fleet, background() as start:
        async with ClientSession(connector=ReadableConnector(), timeout=ClientTimeout()) as session:
            early, late = [await session.get(fleet.urls[0]) for _ in range(2)]
            reader = start(early.read())
            await settled()
            _note_reader(notes, fleet, "a body is being read that does not end", reader, WAITS, 2, _READING_WHY)
        await fleet.ledger.wait_for(open_now=0)
        await settled()
        _note_reader(notes, fleet, "session.close() has returned", reader, WAITS, 0, _CLOSED_WHY)
        later = start(late.read())
        await settled()
        _note_reader(notes, fleet, "another response is read only now", later, "RuntimeError", 0, _REFUSED_WHY)
        notes.conclusion = f"reading before close(): {_state(reader)}   reading after close(): {_state(later)}"


WAITS = "still waiting"
_READING_WHY = "The reader waits for bytes or for the EOF."
_CLOSED_WHY = "The socket is gone, and nobody told the stream: the reader waits for its total timeout, if it has one."
_REFUSED_WHY = "A read that starts looks at the connection first, and refuses."


def _note_reader(
    notes: Visit, fleet: Fleet, done: str, reader: asyncio.Task[bytes], claimed: str, in_flight: int, why: str
) -> None:
    ledger = fleet.ledger
    notes.step(
        done,
        connector={"reader": (_state(reader), claimed)},
        fleet={"open": (ledger.open_now, in_flight), "in flight": (ledger.in_flight, in_flight)},
        why=why,
    )


def _state(reader: asyncio.Task[bytes]) -> str:
    if not reader.done():
        return WAITS
    if reader.cancelled():
        return "cancelled"
    error = reader.exception()
    return "has its body" if error is None else type(error).__name__


async def unclosed(notes: Visit) -> None:
    async with Fleet(1, answer=answering(), ending=Eager()) as fleet:
        for scene in (
            _never_used,
            _with_idle_connection,
            _closed_while_held,
            _closed_and_dropped,
            _with_unread_response,
        ):
            with listening() as complaints:
                await scene(_Scene(notes, fleet, complaints))
    notes.conclusion = "a connector complains of idle connections only, and while a socket lives nothing is said at all"


@dataclass(frozen=True, slots=True)
class _Scene:
    """One way of not closing, and what is said of it."""

    notes: Visit
    fleet: Fleet
    complaints: Complaints

    @property
    def url(self) -> str:
        return self.fleet.urls[0]

    async def note(self, done: str, claimed: str, *, open_now: int = 0, why: str) -> None:
        """Collect garbage and note what has been said since the last time."""
        texts = self.complaints.collect()
        self.complaints.texts.clear()
        await self.fleet.ledger.wait_for(open_now=open_now)
        said = {name for text in texts for name in _UNCLOSED.findall(text)}
        self.notes.step(
            done,
            connector={"said": (", ".join(sorted(said)) or NOTHING, claimed)},
            fleet={"open": (self.fleet.ledger.open_now, open_now)},
            why=why,
        )


async def _never_used(scene: _Scene) -> None:
    ClientSession()
    await scene.note(
        "a session is dropped that was never used",
        SESSION,
        why="A session complains when it is collected open; its connector has no connection to complain of.",
    )


async def _with_idle_connection(scene: _Scene) -> None:
    await _get_and_drop(scene.url)
    await scene.note(
        "a session is dropped with an idle connection",
        f"{SESSION}, {CONNECTOR}",
        why="A connector complains if it holds idle connections; being collected, it closed them.",
    )


async def _closed_while_held(scene: _Scene) -> None:
    scene.fleet.set_ending(Never())
    response = await _get_and_close(scene.url)
    await scene.note(
        "a session is closed while a response is held unread",
        NOTHING,
        why="The socket was closed in good order; the response still holds the connection object.",
    )
    del response
    await scene.note(
        "and then that response is dropped",
        NOTHING,
        why="The response is finalized before its connection, and releases it without a word.",
    )


async def _closed_and_dropped(scene: _Scene) -> None:
    with _collector_paused():
        await _get_and_close(scene.url)
        await scene.note(
            "the same, but the garbage collector has never seen either",
            CONNECTION,
            why="It finalizes the older object first: the connection complains before the response could release it.",
        )


async def _with_unread_response(scene: _Scene) -> None:
    await _get_and_drop(scene.url)
    await scene.note(
        "a session is dropped with an unread response",
        NOTHING,
        open_now=1,
        why="The loop holds the socket, that the response, that the session: nothing is collected, nothing is said.",
    )
    scene.fleet[0].end_all()
    await scene.fleet.ledger.wait_for(open_now=0)
    await settled()
    await scene.note(
        "and then the server closes",
        SESSION,
        why="With the socket gone the session was collected; its connector had no connection left to complain of.",
    )


async def _get_and_drop(url: str) -> None:
    await ClientSession().get(url)


async def _get_and_close(url: str) -> ClientResponse:
    async with ClientSession() as session:
        return await session.get(url)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let nothing be collected by chance, so that the order of finalizers is that in which the objects were made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


READER_HANGS = Room(
    "reader-hangs",
    "session.close() does not wake a task that is reading a body.",
    reader_hangs,
    "https://docs.aiohttp.org/en/stable/client_advanced.html#graceful-shutdown",
)
UNCLOSED = Room(
    "unclosed",
    'Which "Unclosed ..." warning comes, and when, depends on what still holds the socket.',
    unclosed,
    "https://docs.python.org/3/library/devmode.html",
)
