"""What `limit` bounds, and what it does not: connections in use, when they are not taken from the idle ones."""

from __future__ import annotations

from aiohttp import ClientSession, ClientTimeout

from fleetsim.fleet import Fleet
from fleetsim.lab.endings import InTurn
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, Start, Visit, answering, background, settled
from fleetsim.wire.endings import Eager, Never

__all__ = ["LIMIT_BYPASS", "LIMIT_SOCKETS", "LOST_WAKE_UP"]

LIMIT = 2
HOSTS = 20


async def limit_bypass(notes: Visit) -> None:
    connector = ReadableConnector(limit=LIMIT)
    async with (
        Fleet(2, answer=answering(), ending=Eager()) as fleet,
        ClientSession(connector=connector) as session,
        background() as start,
    ):
        first, second = fleet.urls
        await _two_idle(notes, fleet, connector, session, start)
        with fleet.hold() as hold:
            asked = [start(_get(session, second)) for _ in range(2)]
            await hold.wait_for(in_flight=2)
            _note_in_use(
                notes, fleet, connector, "two requests to B", 2, "Two connections in use are what limit=2 allows."
            )
            asked += [start(_get(session, first)) for _ in range(2)]
            await settled()
            _note_in_use(
                notes,
                fleet,
                connector,
                "two more requests, to A",
                4,
                "connect() takes an idle connection before it looks at any limit, so these two did not wait.",
            )
            notes.conclusion = f"limit: {LIMIT}   in use: {connector.acquired()}   in flight: {fleet.ledger.in_flight}"
        for task in asked:
            await task


async def _two_idle(
    notes: Visit, fleet: Fleet, connector: ReadableConnector, session: ClientSession, start: Start
) -> None:
    with fleet.hold() as hold:
        tasks = [start(_get(session, fleet.urls[0])) for _ in range(LIMIT)]
        await hold.wait_for(in_flight=LIMIT)
    for task in tasks:
        await task
    notes.step(
        "two requests to A at once, answered",
        connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), 2)},
        fleet={"open": (fleet.ledger.open_now, 2), "in flight": (fleet.ledger.in_flight, 0)},
        why="Both connections to A are kept.",
    )


def _note_in_use(notes: Visit, fleet: Fleet, connector: ReadableConnector, done: str, in_use: int, why: str) -> None:
    notes.step(
        f"limit={LIMIT}: {done}",
        connector={"acquired": (connector.acquired(), in_use), "waiting": (connector.waiting(), 0)},
        fleet={"open": (fleet.ledger.open_now, 4), "in flight": (fleet.ledger.in_flight, in_use)},
        why=why,
    )


async def _get(session: ClientSession, url: str) -> bytes:
    async with session.get(url) as response:
        return await response.read()


async def limit_sockets(notes: Visit) -> None:
    connector = ReadableConnector(limit=LIMIT)
    async with Fleet(HOSTS, answer=answering()) as fleet, ClientSession(connector=connector) as session:
        for visited, url in enumerate(fleet.urls, 1):
            await _get(session, url)
            if visited not in (1, HOSTS):
                continue
            notes.step(
                f"limit={LIMIT}: {visited} of {HOSTS} servers visited, one after the other",
                connector={"acquired": (connector.acquired(), 0), "idle": (connector.idle(), visited)},
                fleet={"open": (fleet.ledger.open_now, visited), "peak in flight": (fleet.ledger.peak_in_flight, 1)},
                why="The limit counts connections in use; kept ones are sockets all the same, and count for nothing.",
            )
        notes.conclusion = f"limit: {LIMIT}   open sockets: {fleet.ledger.open_now}"


async def lost_wake_up(notes: Visit) -> None:
    connector = ReadableConnector(limit=1)
    async with (
        Fleet(1, answer=answering(), ending=InTurn([Never(), Eager()])) as fleet,
        ClientSession(connector=connector, timeout=ClientTimeout()) as session,
        background() as start,
    ):
        holder = await session.get(fleet.urls[0])
        first, second = [start(_get(session, fleet.urls[0])) for _ in range(2)]
        await settled()
        _note_queue(notes, fleet, connector, _QUEUED, acquired=1, waiting=2, requests=1)
        holder.close()  # wakes the first of the two
        first.cancel()  # which is cancelled before it can run
        await fleet.ledger.wait_for(in_flight=0)
        await settled()
        notes.conclusion = f"waiting with nothing in use: {connector.waiting()}"
        _note_queue(notes, fleet, connector, _STRANDED, acquired=0, waiting=1, requests=1)
        await _get(session, fleet.urls[0])
        await second
        _note_queue(notes, fleet, connector, _REVIVED, acquired=0, waiting=0, requests=3)


_QUEUED = (
    "limit=1: one request holds the connection, two wait",
    "The connection in use is the only one there may be.",
)
_STRANDED = (
    "the connection is closed, and in the same step the first of those waiting is cancelled",
    "The wake-up went to the one that was cancelled, which passes it on to nobody.",
)
_REVIVED = (
    "a later request comes and goes",
    "It found the place free, and its own release woke the one that had been forgotten.",
)


def _note_queue(
    notes: Visit,
    fleet: Fleet,
    connector: ReadableConnector,
    told: tuple[str, str],
    *,
    acquired: int,
    waiting: int,
    requests: int,
) -> None:
    done, why = told
    notes.step(
        done,
        connector={"acquired": (connector.acquired(), acquired), "waiting": (connector.waiting(), waiting)},
        fleet={"requests": (fleet.ledger.requests, requests), "in flight": (fleet.ledger.in_flight, acquired)},
        why=why,
    )


LIMIT_BYPASS = Room(
    "limit-bypass",
    "A request that finds an idle connection is not bound by `limit`.",
    limit_bypass,
    "https://github.com/aio-libs/aiohttp/pull/9600",
)
LIMIT_SOCKETS = Room(
    "limit-sockets",
    "`limit` does not bound open sockets: idle ones are not counted.",
    limit_sockets,
    "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.TCPConnector",
)
LOST_WAKE_UP = Room(
    "lost-wake-up",
    "When a waiting request is cancelled as its turn comes, its turn is lost and the next in line stays asleep.",
    lost_wake_up,
    "https://github.com/aio-libs/aiohttp/pull/9671",
)
