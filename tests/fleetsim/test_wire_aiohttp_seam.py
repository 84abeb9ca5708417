"""What we lean on in aiohttp, held to by name: a release that moves it fails here first, and says what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler
from answers import hello
from raw_http import Peer, post

import fleetsim
from fleetsim import Fleet
from fleetsim.wire import aiohttp_seam

COMMON = ("_drain_helper", "connection_lost", "connection_made", "data_received", "force_close")
SLOTS = ("_loop", "_messages", "_paused", "_reading_paused", "_waiter")


@pytest.mark.parametrize("name", [*COMMON, *SLOTS])
def test_aiohttp_still_has(name: str) -> None:
    assert hasattr(RequestHandler, name) or name in BaseProtocol.__slots__


def test_no_other_module_of_the_package_reads_aiohttps_insides() -> None:
    names = re.compile(r"\._(messages|waiter|parser|request_parser|task_handler|buffer_paused|drain_helper|manager)\b")
    (folder,) = fleetsim.__path__
    guilty = [
        path.name
        for path in Path(folder).rglob("*.py")
        if names.search(path.read_text()) and path.name != Path(aiohttp_seam.__file__ or "").name
    ]
    assert guilty == []


async def test_more_pipelined_requests_than_aiohttp_counts_are_all_answered() -> None:
    """aiohttp 3.14 stops reading at 32 parsed requests until it is told that some were taken."""
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", body=b"abc") * 500)
        for _ in range(500):
            assert (await peer.response()).endswith(b'{"read":3}')
        assert fleet.ledger.requests_per_connection == {500: 1}


async def test_reading_goes_on_after_a_body_that_had_to_be_paused() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(3):
            await peer.send(post("/", body=b"x" * 2_000_000))
            assert (await peer.response()).endswith(b'{"read":2000000}')
