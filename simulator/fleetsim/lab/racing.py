"""Bytes that cross on the wire: a server that closes while a request is on its way, and one that answers unasked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientSession, ServerDisconnectedError

from fleetsim.fleet import Fleet
from fleetsim.lab.endings import InTurn, Unsolicited
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, Visit, answering, settled
from fleetsim.ledger import Ledger
from fleetsim.wire.endings import BeforeHead, Eager

__all__ = ["DESYNC", "KEEPALIVE_RACE"]

STALE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nSTALE"


async def keepalive_race(notes: Visit) -> None:
    connector, said = ReadableConnector(), []
    async with Fleet(len(_RACES), answer=answering()) as fleet, ClientSession(connector=connector) as session:
        for server, race in zip(fleet, _RACES, strict=True):
            server.ending = InTurn([*([Eager()] if race.kept else []), BeforeHead(), Eager()])
            if race.kept:
                await _asked(session, race.method, server.url)
            answer = await _asked(session, race.method, server.url)
            await settled()
            said.append(answer)
            _note(notes, race.done, (answer, race.answer), (server.ledger, race.requests, race.opened), race.why)
    notes.conclusion = f"GET: {said[0]}, POST: {said[1]}, GET on a new connection: {said[2]}"


@dataclass(frozen=True, slots=True)
class _Race:
    """A request that meets a closing server, on a `kept` connection or a new one, and what is claimed to come of it."""

    method: str
    kept: bool
    answer: str
    requests: int
    opened: int
    done: str
    why: str


_RACES: Final = (
    _Race(
        *("GET", True, "200", 3, 2),
        "GET on a kept connection that the server closes as it arrives",
        "aiohttp sent the GET a second time, on a new connection, and told nobody.",
    ),
    _Race(
        *("POST", True, "ServerDisconnectedError", 2, 1),
        "POST on a kept connection that the server closes as it arrives",
        "A POST may have been carried out, so it is never repeated: the caller gets the error.",
    ),
    _Race(
        *("GET", False, "200", 2, 2),
        "GET on a new connection that is closed without an answer",
        "The repetition does not ask whether the connection had served before.",
    ),
)


async def _asked(session: ClientSession, method: str, url: str) -> str:
    """The status, or what was raised instead."""
    try:
        async with session.request(method, url) as response:
            await response.read()
            return str(response.status)
    except ServerDisconnectedError as error:
        return type(error).__name__


def _note(notes: Visit, done: str, answer: tuple[str, str], seen: tuple[Ledger, int, int], why: str) -> None:
    ledger, requests, opened = seen
    fleet = {"requests": (ledger.requests, requests), "opened": (ledger.opened, opened)}
    notes.step(done, connector={"answer": answer}, fleet=fleet, why=why)


async def desync(notes: Visit) -> None:
    connector, go, got = ReadableConnector(), asyncio.Event(), []
    ending = InTurn([Unsolicited(go, STALE), Eager()])
    async with (
        Fleet(1, answer=answering(b""), ending=ending) as fleet,
        ClientSession(connector=connector) as session,
    ):
        for number, (path, claimed, why) in enumerate(_ASKED, 1):
            got.append(await _text(session, f"{fleet.urls[0]}{path}"))
            await fleet.ledger.wait_for(requests=number)
            _note(notes, f"GET {path}", (got[-1], claimed), (fleet.ledger, number, 1), why)
            if not go.is_set():
                await _speak_unasked(notes, fleet, connector, go)
    notes.conclusion = f"/one got {got[0]}, /two got {got[1]}, /three got {got[2]}"


_ASKED: Final = (
    ("/one", "/one", "One request, its own answer."),
    ("/two", "STALE", "The next request on that connection takes what lies there for its answer."),
    ("/three", "/two", "From here on every answer is one request late."),
)


async def _speak_unasked(notes: Visit, fleet: Fleet, connector: ReadableConnector, go: asyncio.Event) -> None:
    go.set()
    await fleet.ledger.wait_for(in_flight=0)
    await settled()
    notes.step(
        "the server sends a second response that nobody asked for",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 1)},
        fleet={"requests": (fleet.ledger.requests, 1), "opened": (fleet.ledger.opened, 1)},
        why="The idle connection parsed it and kept it; nothing marks the connection as unfit.",
    )


async def _text(session: ClientSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


KEEPALIVE_RACE = Room(
    "keepalive-race",
    "When a server closes a kept connection as the next request arrives, a GET is repeated and a POST fails.",
    keepalive_race,
    "https://github.com/aio-libs/aiohttp/pull/7297",
)
DESYNC = Room(
    "desync",
    "A response that nobody asked for becomes the answer to the next request on that connection.",
    desync,
    "https://github.com/aio-libs/aiohttp/issues/13656",
)
