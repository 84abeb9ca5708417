"""What a room of the laboratory is, what its run has to work with, and what it brings back.

A room makes a claim about aiohttp's connection pool, runs the experiment that shows it, and writes down after each step
what the connector counted, what the fleet saw, and one sentence why. What did not come out as claimed is written down
too: another aiohttp may behave otherwise, and then the room says how.

Client and fleet share one loop, so that the order of events does not depend on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError

from fleetsim.exchange import Answer, ApiRequest, Unary
from fleetsim.lab.reader import Figure, NotReadable

__all__ = ["Account", "Room", "Row", "Start", "Visit", "answering", "background", "settled", "visit"]

SETTLE_TURNS = 50  # of the loop; what needs a socket needs two, and a future one
ROOM_DEADLINE = 60.0  # seconds; a room takes one at most, unless the machine has other work


Start = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
Value = Figure | str | bool
Claimed = Mapping[str, tuple[Value, Value]]


@dataclass(frozen=True, slots=True)
class Row:
    """One step: what was `done`, what the connector says after it, what the fleet saw, and why."""

    done: str
    connector: str
    fleet: str
    why: str


@dataclass(slots=True)
class Visit:
    """What one run has written down so far."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    conclusion: str = ""

    def row(self, done: str, *, connector: str, fleet: str, why: str) -> None:
        """Note a step."""
        self.rows.append(Row(done, connector, fleet, why))

    def step(self, done: str, *, connector: Claimed, fleet: Claimed, why: str) -> None:
        """Note a step whose figures are claimed: each is a pair of what was found and what was to be found. `why` holds
        for the claim, so it gives way to the difference where there is one."""
        before = len(self.problems)
        for name, (found, claimed) in (*connector.items(), *fleet.items()):
            self.expect(f"{done}: {name}", found, claimed)
        if len(self.problems) > before:
            why = "It came out otherwise than claimed, so the reason is another one."
        self.row(done, connector=_told(connector), fleet=_told(fleet), why=why)

    def expect(self, what: str, found: Value, claimed: Value) -> None:
        """Note a problem unless `found` is what was `claimed`."""
        if isinstance(found, NotReadable):
            self.problems.append(f"{what}: {found}")
        elif found != claimed:
            self.problems.append(f"{what}: claimed {claimed}, found {found}")


@dataclass(frozen=True, slots=True)
class Room:
    """One experiment. `name` is short, fixed, and what the command takes; `source` is where to read on."""

    name: str
    claim: str
    run: Callable[[Visit], Awaitable[None]]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What came of a room. `agrees`: all of it came out as claimed; `problems` says what did not."""

    name: str
    claim: str
    agrees: bool
    rows: tuple[Row, ...]
    conclusion: str
    problems: tuple[str, ...]
    source: str
    seconds: float


def _told(figures: Claimed) -> str:
    return ", ".join(f"{name} {found}" for name, (found, _) in figures.items())


def visit(room: Room) -> Account:
    """Run a room in a loop of its own, so not from inside one, and return its account.

    Ends within `ROOM_DEADLINE` seconds. An error of aiohttp that the room did not count on becomes one of its problems.
    """
    notes = Visit()
    begin = time.perf_counter()
    asyncio.run(_within_deadline(room, notes))
    seconds = round(time.perf_counter() - begin, 3)
    rows, problems = tuple(notes.rows), tuple(notes.problems)
    return Account(room.name, room.claim, not problems, rows, notes.conclusion, problems, room.source, seconds)


async def _within_deadline(room: Room, notes: Visit) -> None:
    limit = asyncio.timeout(ROOM_DEADLINE)
    try:
        async with limit:
            await room.run(notes)
    except (ClientError, TimeoutError) as error:
        late = f"not finished after {ROOM_DEADLINE:g} s"
        notes.problems.append(late if limit.expired() else f"raised {type(error).__name__}: {error}")


@asynccontextmanager
async def background() -> AsyncIterator[Start]:
    """Yield what starts a coroutine as a task; whatever is left of those at the end is cancelled and awaited."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        tasks.append(asyncio.get_running_loop().create_task(work))
        return tasks[-1]

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled() -> None:
    """Give what is already on its way time to arrive: for what must *not* happen."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


def answering(body: bytes = b"hello", *, headers: tuple[tuple[str, str], ...] = ()) -> Callable[[int], Answer]:
    """For `Fleet(answer=...)`: every server answers every request with `body`; empty, with the request's path."""

    async def answer(request: ApiRequest) -> Unary:
        return Unary(200, body or request.path.encode(), "text/plain", headers)

    return lambda _: answer
