"""One request that asks for its own faults, by a raw socket and by aiohttp's client."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from answers import DONE, hello, streamed
from raw_http import Peer, dated, post

from fleetsim import Answer, ConnectionRecord, Fleet, RequestRecord

__all__ = ["BODY", "EVENTS", "UNARY_HEAD", "aiohttp_sees", "asking", "last_lines", "raw_bytes", "stream", "unary"]

BODY = b'{"read":0}'
EVENTS = b"data: 1\n\n" + DONE
UNARY_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\n"
    b"content-length: %d\r\ncontent-type: application/json\r\nvary: Origin\r\n\r\n"
)

unary: Answer = hello
stream: Answer = streamed(b"data: 1\n\n", DONE)


@asynccontextmanager
async def asking(faults: str, answer: Answer = unary) -> AsyncIterator[tuple[Fleet, Peer]]:
    """A fleet of one and a connection on which a request that asks for these faults has been sent."""
    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", f"x-fleet-fault: {faults}"))
        yield fleet, peer


async def raw_bytes(faults: str, answer: Answer = unary, *, until: bytes | None = None) -> bytes:
    """What a raw socket gets, the date taken out: until `until`, or else until FIN."""
    async with asking(faults, answer) as (_, peer):
        return dated(await (peer.to_the_end() if until is None else peer.until(until)))


async def last_lines(fleet: Fleet) -> tuple[ConnectionRecord, RequestRecord]:
    """The journal's last connection and request, when no connection is open any more."""
    await fleet.ledger.wait_for(open_now=0)
    return fleet.ledger.connection_records()[-1], fleet.ledger.request_records()[-1]


async def aiohttp_sees(
    faults: str,
    answer: Answer = unary,
    *,
    total: float = 30.0,
    sock_read: float | None = 10.0,
    keepalive_timeout: float | None = 5.0,
    data: bytes | io.BytesIO = b"",
) -> tuple[int, bytes]:
    """Status and body that aiohttp's client gets of one POST that asks for these faults; raises what it raises."""
    timeout, headers = aiohttp.ClientTimeout(total=total, sock_read=sock_read), {"X-Fleet-Fault": faults}
    fleet = Fleet(1, answer=lambda index: answer, keepalive_timeout=keepalive_timeout)
    async with (
        fleet,
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(fleet[0].url, headers=headers, data=data) as response,
    ):
        return response.status, await response.read()
