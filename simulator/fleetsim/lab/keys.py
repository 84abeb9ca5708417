"""What aiohttp takes for one host: the key under which it keeps and counts connections."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientSession

from fleetsim.fleet import Fleet
from fleetsim.hold import Hold
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, Start, Visit, answering, background, settled
from fleetsim.wire.endings import Eager

__all__ = ["SSL_MISMATCH"]

PER_HOST = 2


async def ssl_mismatch(notes: Visit) -> None:
    async with (
        Fleet(1, answer=answering(), ending=Eager(), tls=True) as secure,
        Fleet(1, answer=answering(), ending=Eager()) as plain,
        background() as start,
    ):
        trust = secure.ssl_context()
        of_tls = await _asked_twice(notes, secure, start, trust=trust, said={"ssl": trust}, told=_THE_SAME_TRUST)
        of_http = await _asked_twice(notes, plain, start, trust=True, said={"ssl": False}, told=_WITHOUT_TLS)
    notes.conclusion = f"limit_per_host: {PER_HOST}   in flight: https {of_tls}, http {of_http}"


async def _asked_twice(
    notes: Visit, fleet: Fleet, start: Start, *, trust: Any, said: dict[str, Any], told: tuple[tuple[str, str], ...]
) -> int:
    """Ask one host for more than its cap, as usual and with what is `said` too; return what the fleet had in flight."""
    connector = ReadableConnector(limit_per_host=PER_HOST, ssl=trust)
    async with ClientSession(connector=connector) as session:
        with fleet.hold() as hold:
            asked = await _queue(hold, start, session, fleet.urls[0], {}, in_flight=PER_HOST)
            _note(notes, fleet, connector, told[0], keys=1)
            asked += await _queue(hold, start, session, fleet.urls[0], said, in_flight=2 * PER_HOST)
            _note(notes, fleet, connector, told[1], keys=2)
            in_flight = fleet.ledger.in_flight
        for task in asked:
            await task
    return in_flight


async def _queue(
    hold: Hold, start: Start, session: ClientSession, url: str, said: dict[str, Any], *, in_flight: int
) -> list[asyncio.Task[bytes]]:
    """Send one request more than the cap allows; the last has to wait."""
    asked = [start(_get(session, url, said)) for _ in range(PER_HOST + 1)]
    await hold.wait_for(in_flight=in_flight)
    await settled()
    return asked


async def _get(session: ClientSession, url: str, said: dict[str, Any]) -> bytes:
    async with session.get(url, **said) as response:
        return await response.read()


def _note(notes: Visit, fleet: Fleet, connector: ReadableConnector, told: tuple[str, str], *, keys: int) -> None:
    done, why = told
    in_use = keys * PER_HOST
    notes.step(
        done,
        connector={
            "acquired": (connector.acquired(), in_use),
            "acquired keys": (connector.acquired_keys(), keys),
            "waiting": (connector.waiting(), keys),
        },
        fleet={"open": (fleet.ledger.open_now, in_use), "in flight": (fleet.ledger.in_flight, in_use)},
        why=why,
    )


_THE_SAME_TRUST = (
    (
        "limit_per_host=2, connector with ssl=context: three requests to one https host",
        "Two connections are what one host may have, and the third request waits.",
    ),
    (
        "three more to the same host, each with ssl=context: the very same one",
        "A request's own `ssl=`, or True without one, is part of the key: the same trust said twice is another host.",
    ),
)
_WITHOUT_TLS = (
    ("another connector: three requests to one http host", "Again two are sent and one waits."),
    (
        "three more to the same host, each with ssl=False",
        "It is part of the key for http too, where it means nothing.",
    ),
)

SSL_MISMATCH = Room(
    "ssl-mismatch",
    "One host asked with two values of `ssl=` is two hosts for `limit_per_host`: twice the connections.",
    ssl_mismatch,
    "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.TCPConnector",
)
