from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import ClientSession

from fleetsim.fleet import Fleet
from fleetsim.lab.reader import NotReadable, ReadableConnector
from fleetsim.lab.room import answering, settled


async def test_its_counts_follow_a_request_from_queue_to_idle() -> None:
    connector = ReadableConnector(limit=3, limit_per_host=1)
    async with Fleet(2, answer=answering()) as fleet, ClientSession(connector=connector) as session:
        with fleet.hold() as hold:
            tasks = [asyncio.create_task(session.get(fleet.urls[0])) for _ in range(2)]
            await hold.wait_for(in_flight=1)
            await settled()
            assert (connector.acquired(), connector.acquired_keys(), connector.idle()) == (1, 1, 0)
            assert connector.waiting() == 1
            assert connector.available(fleet.urls[0]) == 0
        for response in await asyncio.gather(*tasks):
            await response.read()
        assert (connector.acquired(), connector.acquired_keys(), connector.idle()) == (0, 0, 1)
        assert (connector.waiting(), connector.available(fleet.urls[0])) == (0, 1)


async def test_a_connection_the_server_closed_is_not_idle() -> None:
    connector = ReadableConnector()
    async with (
        Fleet(1, answer=answering(), keepalive_timeout=0) as fleet,
        ClientSession(connector=connector) as session,
    ):
        async with session.get(fleet.urls[0]) as response:
            await response.read()
        await fleet.ledger.wait_for(open_now=0)
        await settled()
        assert connector.idle() == 0


async def test_a_place_nobody_has_asked_has_no_key_to_read() -> None:
    connector = ReadableConnector()
    assert connector.available("http://127.0.0.1:9") == NotReadable("_available_connections")
    await connector.close()


async def test_what_has_gone_is_said_with_the_version() -> None:
    connector = ReadableConnector()
    try:
        kept = {
            name: connector.__dict__.pop(name) for name in ("_acquired", "_conns", "_waiters", "_acquired_per_host")
        }
        figures = [connector.acquired(), connector.idle(), connector.waiting(), connector.acquired_keys()]
        assert {str(figure) for figure in figures} == {f"not readable on aiohttp {aiohttp.__version__}"}
        assert [figure.attribute for figure in figures if isinstance(figure, NotReadable)] == [
            "_acquired",
            "_conns",
            "_waiters",
            "_acquired_per_host",
        ]
    finally:
        connector.__dict__.update(kept)
        await connector.close()


async def test_what_has_changed_its_shape_is_not_readable_either() -> None:
    connector = ReadableConnector()
    kept = connector._conns
    try:
        connector._conns = {"a": [object()]}  # type: ignore[assignment]
        assert connector.idle() == NotReadable("_conns")
    finally:
        connector._conns = kept
        await connector.close()
