"""The published experiment: which connections does an unread response hold?

`TCPConnector(limit=25, limit_per_host=5)`; two requests to server A, then three to server B; the responses are kept,
neither read nor closed. A's bodies end by themselves, B's never do. After each request: how many connections are still
available for its host, and for how many hosts a connection is in use. The question "Understanding aiohttp.TCPConnector
pooling & connection limits" on Stack Overflow published 4, 4, 4, 3, 2 and asked why not 4, 3, and why never two keys.

What happens. aiohttp gives a connection back when its parser has met the end of the body, whether anybody has read it
or not (`ClientResponse._response_eof`). So it depends on *when* the EOF arrives: with the head, and nothing is held by
the time `session.get()` returns (5, 5); while the next request waits for its head, and each request finds itself alone
(4, 4); later, and they add up (4, 3). B's always add up (4, 3, 2).

What is hard: the order of events must not depend on the machine. Client and fleet share one loop, in which the timer of
an EOF is set before that of the next answer and so comes first, however late both are.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientResponse, ClientSession, ClientTimeout

from fleetsim.exchange import Answer, ApiRequest, Unary
from fleetsim.fleet import Fleet
from fleetsim.lab.endings import EagerChunks
from fleetsim.lab.reader import Figure, ReadableConnector
from fleetsim.lab.room import Room, Visit
from fleetsim.wire.endings import Delayed, Eager, Ending, Never, Split

__all__ = ["PUBLISHED", "Variant", "connector_room"]

LIMIT, LIMIT_PER_HOST = 25, 5
ORDER: Final = (0, 0, 1, 1, 1)  # which server each request goes to: A, A, B, B, B
NAMES: Final = "AB"
SMALL = 4_096  # bytes; a body up to this is in one segment on any loopback


@dataclass(frozen=True, slots=True)
class Variant:
    """How the servers answer.

    `eof`: seconds from the rest of A's response to its EOF; None is all in one write. `latency`: seconds to the first
    byte, of both servers. `body`: the length of A's, in bytes, before `compressed` makes it gzip. `chunked`: A sends a
    last chunk instead of a Content-Length.
    """

    eof: float | None = 0.005
    latency: float = 0.02
    body: int = 64
    compressed: bool = False
    chunked: bool = False

    def ending(self) -> Ending:
        """A's ending."""
        if self.eof is None:
            return EagerChunks() if self.chunked else Eager()
        return Delayed(seconds=self.eof) if self.chunked else Split(gap=self.eof)

    def answer(self, index: int) -> Answer:
        """What server `index` says."""
        body = b"x" * self.body if index == 0 else b"for ever"
        headers: tuple[tuple[str, str], ...] = ()
        if self.compressed and index == 0:
            body, headers = gzip.compress(body), (("content-encoding", "gzip"),)

        async def answer(_: ApiRequest) -> Unary:
            if self.latency:
                await asyncio.sleep(self.latency)
            return Unary(200, body, "text/plain", headers)

        return answer

    def claimed(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The available connections and the acquired keys that must come out; None where they depend on the machine
        or on aiohttp's version."""
        if self.body > SMALL:
            return None
        if self.eof is None:
            return (5, 5, 4, 3, 2), (0, 0, 1, 1, 1)
        if self.eof < self.latency:
            return (4, 4, 4, 3, 2), (1, 1, 1, 1, 1)
        return None


PUBLISHED: Final = Variant()


def connector_room(variant: Variant = PUBLISHED) -> Room:
    """The experiment as a room. Where `variant.claimed` is None the figures are shown as they come."""

    async def run(notes: Visit) -> None:
        async with Fleet(2, answer=variant.answer) as fleet:
            fleet[0].ending, fleet[1].ending = variant.ending(), Never()
            await _experiment(fleet, notes, variant.claimed())

    return Room(
        "connector",
        "An unread response holds its connection until its EOF has arrived, and not until somebody reads it.",
        run,
        'Stack Overflow, "Understanding aiohttp.TCPConnector pooling & connection limits"',
    )


async def _experiment(fleet: Fleet, notes: Visit, claimed: tuple[tuple[int, ...], tuple[int, ...]] | None) -> None:
    connector = ReadableConnector(limit=LIMIT, limit_per_host=LIMIT_PER_HOST)
    kept: list[ClientResponse] = []
    available: list[Figure] = []
    keys: list[Figure] = []
    async with ClientSession(connector=connector, timeout=ClientTimeout()) as session:
        for server in ORDER:
            held = _held(kept)
            kept.append(await session.get(fleet.urls[server]))
            available.append(connector.available(fleet.urls[server]))
            keys.append(connector.acquired_keys())
            _note(notes, fleet, connector, kept, freed=held - _held(kept))
        for response in kept:
            response.close()
    notes.conclusion = f"available: {_listed(available)}   acquired keys: {_listed(keys)}"
    if claimed is not None:
        notes.expect("available", _listed(available), _listed(claimed[0]))
        notes.expect("acquired keys", _listed(keys), _listed(claimed[1]))


def _held(kept: Sequence[ClientResponse]) -> set[int]:
    """The numbers, from 1, of the responses that hold a connection."""
    return {number for number, response in enumerate(kept, 1) if response.connection is not None}


def _note(
    notes: Visit, fleet: Fleet, connector: ReadableConnector, kept: Sequence[ClientResponse], *, freed: set[int]
) -> None:
    number = len(kept)
    server = ORDER[number - 1]
    urls = fleet.urls[: max(ORDER[:number]) + 1]
    available = ", ".join(f"{NAMES[index]} {connector.available(url)}" for index, url in enumerate(urls))
    notes.row(
        f"#{number} GET {NAMES[server]}",
        connector=f"available {available}; acquired keys {connector.acquired_keys()}",
        fleet="; ".join(
            f"{NAMES[each.index]} {each.ledger.opened} opened, {each.ledger.in_flight} in flight" for each in fleet
        ),
        why=_why(number, _held(kept), freed),
    )


def _why(number: int, held: set[int], freed: set[int]) -> str:
    """One sentence about request `number`, made from what is held after it and what was `freed` while it waited."""
    text = "its own EOF came with its head, so its connection was idle again before get() returned."
    if number in held:
        same = {each for each in held if ORDER[each - 1] == ORDER[number - 1]}
        hold = "holds" if len(same) == 1 else "hold"
        text = f"its own EOF has not been met yet: {_numbers(same)} {hold} {len(same)} of {LIMIT_PER_HOST}."
    if freed:
        text = f"while it waited for its head, {_numbers(freed)} met its EOF and was given back unread; {text}"
    return text[0].upper() + text[1:]


def _numbers(numbers: set[int]) -> str:
    *others, last = [f"#{number}" for number in sorted(numbers)]
    return f"{', '.join(others)} and {last}" if others else last


def _listed(figures: Sequence[Figure]) -> str:
    return ", ".join(str(figure) for figure in figures)
