"""httpx against a fleet: what the adapter brings of it, and what it passes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import endpoints_of, settled
from fleetsim.proofs.client import Client, Options, Pool, load_client

pytest.importorskip("httpx")
client = load_client("httpx")


@asynccontextmanager
async def opened(client: Client, fleet: Fleet, options: Options | None = None) -> AsyncIterator[Pool]:
    pool = client.build(endpoints_of(fleet), options or Options())
    await pool.open()
    try:
        yield pool
    finally:
        await settled(asyncio.all_tasks)  # httpx leaves the closing of its generators to the loop, one after the other
        await pool.close()
        await fleet.ledger.wait_for(open_now=0)


async def test_a_request_and_a_stream_bring_the_same_words_from_either_server() -> None:
    async with Fleet(2, seed=1) as fleet, opened(client, fleet) as pool:
        for index in range(2):
            unary, stream = await pool.request(index, "hello"), await pool.stream(index, "hello")
            assert unary.ok
            assert unary.text
            assert (stream.ok, stream.text) == (True, unary.text)
        assert [server.ledger.opened for server in fleet] == [1, 1]


async def test_a_stream_can_be_left_after_its_first_words() -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet) as pool:
        whole, left = await pool.stream(0, "hello"), await pool.stream(0, "hello", leave_after=1)
        assert left.ok
        assert whole.text.startswith(left.text)
        assert len(left.text) < len(whole.text)


@pytest.mark.parametrize(
    ("fault", "unary", "stream"),
    [
        ("truncated", "RemoteProtocolError", "RemoteProtocolError"),
        ("unavailable", "503 Service Unavailable", "503 Service Unavailable"),
        ("error_event", None, "no chat completion event"),
        ("bad_json", None, "no chat completion event"),
        ("refuse", "Connect", "Connect"),
    ],
)
async def test_what_happens_on_the_wire_is_an_answer_that_says_so(fault: str, unary: str | None, stream: str) -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet) as pool:
        with fleet[0].fault(fault):
            await fleet.faults.settled()
            answers = [await pool.request(0, "hello"), await pool.stream(0, "hello")]
        await fleet.faults.settled()
    for answer, error in zip(answers, (unary, stream), strict=True):
        assert answer.ok is (error is None)
        assert (error or "") in answer.error


async def test_the_time_limit_is_the_clients() -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet, Options(timeout=0.05)) as pool:
        with fleet[0].fault("hang"):
            answer = await pool.request(0, "hello")
        assert not answer.ok
        assert "Timeout" in answer.error


def test_it_has_no_views_and_says_so() -> None:
    assert not client.features
    with pytest.raises(NotImplementedError, match="no sub-clients"):
        client.build([], Options()).view("slice", 0, 1)


async def test_it_counts_the_connections_it_opens() -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet) as pool:
        for _ in range(3):
            await pool.request(0, "hello")
        assert pool.counts().opened == fleet.ledger.opened == 1


async def test_a_client_never_opened_is_refused() -> None:
    async with Fleet(1, seed=1) as fleet:
        with pytest.raises(RuntimeError, match="never opened"):
            await client.build(endpoints_of(fleet), Options()).request(0, "hello")
