"""Bytes that cross on the wire: a server that closes while a request is on its way, and one that answers unasked."""

from __future__ import annotations

import asyncio

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
    connector = ReadableConnector()
    async with Fleet(3, answer=answering()) as fleet, ClientSession(connector=connector) as session:
        for server in (fleet[0], fleet[1]):
            server.ending = InTurn([Eager(), BeforeHead(), Eager()])
        fleet[2].ending = InTurn([BeforeHead(), Eager()])
        for index, method in enumerate(("GET", "POST")):
            await _asked(session, method, fleet.urls[index])
        said = [await _asked(session, method, fleet.urls[index]) for index, method in enumerate(("GET", "POST", "GET"))]
        await settled()
        ledgers = [server.ledger for server in fleet]
        _note(
            notes,
            "GET on a kept connection that the server closes as it arrives",
            (said[0], "200"),
            (ledgers[0], 3, 2),
            "aiohttp sent the GET a second time, on a new connection, and told nobody.",
        )
        _note(
            notes,
            "POST on a kept connection that the server closes as it arrives",
            (said[1], "ServerDisconnectedError"),
            (ledgers[1], 2, 1),
            "A POST may have been carried out, so it is never repeated: the caller gets the error.",
        )
        _note(
            notes,
            "GET on a new connection that is closed without an answer",
            (said[2], "200"),
            (ledgers[2], 2, 2),
            "The repetition does not ask whether the connection had served before.",
        )
    notes.conclusion = f"GET: {said[0]}, POST: {said[1]}, GET on a new connection: {said[2]}"


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
    connector, go = ReadableConnector(), asyncio.Event()
    ending = InTurn([Unsolicited(go, STALE), Eager()])
    async with (
        Fleet(1, answer=answering(b""), ending=ending) as fleet,
        ClientSession(connector=connector) as session,
    ):
        ledger = fleet.ledger
        first = await _text(session, f"{fleet.urls[0]}/one")
        _note(notes, "GET /one", (first, "/one"), (ledger, 1, 1), "One request, its own answer.")
        go.set()
        await ledger.wait_for(in_flight=0)
        await settled()
        notes.step(
            "the server sends a second response that nobody asked for",
            connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 1)},
            fleet={"requests": (ledger.requests, 1), "opened": (ledger.opened, 1)},
            why="The idle connection parsed it and kept it; nothing marks the connection as unfit.",
        )
        second = await _text(session, f"{fleet.urls[0]}/two")
        await ledger.wait_for(requests=2, in_flight=0)
        _note(
            notes,
            "GET /two",
            (second, "STALE"),
            (ledger, 2, 1),
            "The next request on that connection takes what lies there for its answer.",
        )
        third = await _text(session, f"{fleet.urls[0]}/three")
        await ledger.wait_for(requests=3)
        _note(notes, "GET /three", (third, "/two"), (ledger, 3, 1), "From here on every answer is one request late.")
    notes.conclusion = f"/one got {first}, /two got {second}, /three got {third}"


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
