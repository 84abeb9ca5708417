from __future__ import annotations

import asyncio

from aiohttp import ClientSession

from fleetsim.fleet import Fleet
from fleetsim.lab.endings import EagerChunks, InTurn, Unsolicited
from fleetsim.lab.room import answering
from fleetsim.wire.endings import BeforeHead, Ending, Split

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_eager_chunks_are_head_body_and_last_chunk_in_one_segment() -> None:
    async with Fleet(1, answer=answering(), ending=EagerChunks()) as fleet:
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet[0].port)
        writer.write(REQUEST)
        segment = await reader.read(65_536)
        writer.close()
        await writer.wait_closed()
    assert b"transfer-encoding: chunked" in segment.lower()
    assert segment.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


async def test_in_turn_gives_each_request_the_next_ending_and_the_last_for_ever() -> None:
    endings: list[Ending] = [Split(), BeforeHead(), Split()]
    async with Fleet(1, answer=answering(), ending=InTurn(endings)) as fleet, ClientSession() as session:
        for _ in range(3):
            async with session.get(fleet.urls[0]) as response:
                assert await response.text() == "hello"
        assert [record.outcome for record in fleet.ledger.request_records()] == [
            "complete",
            "cut",
            "complete",
            "complete",
        ]


async def test_unsolicited_bytes_follow_on_the_same_connection_when_told_to() -> None:
    go = asyncio.Event()
    async with Fleet(1, answer=answering(), ending=Unsolicited(go, b"and more")) as fleet:
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet[0].port)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
        go.set()
        assert await reader.readexactly(8) == b"and more"
        writer.close()
        await writer.wait_closed()
