"""openai, over either of its transports, against a fleet: what the adapter brings of it, and what it passes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import endpoints_of, settled
from fleetsim.proofs.client import Client, CountedOutcome, Options, Pool, load_client

pytest.importorskip("openai")
BOTH = pytest.mark.parametrize(
    "client", [load_client(name) for name in ("openai", "openai-aiohttp")], ids=lambda it: it.name
)


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


@BOTH
async def test_a_request_and_a_stream_bring_the_same_words_from_either_server(client: Client) -> None:
    async with Fleet(2, seed=1) as fleet, opened(client, fleet) as pool:
        for index in range(2):
            unary, stream = await pool.request(index, "hello"), await pool.stream(index, "hello")
            assert unary.ok
            assert unary.text
            assert (stream.ok, stream.text) == (True, unary.text)
        assert [server.ledger.opened for server in fleet] == [1, 1]


@BOTH
async def test_a_stream_can_be_left_after_its_first_words(client: Client) -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet) as pool:
        whole, left = await pool.stream(0, "hello"), await pool.stream(0, "hello", leave_after=1)
        assert left.ok
        assert whole.text.startswith(left.text)
        assert len(left.text) < len(whole.text)


@BOTH
@pytest.mark.parametrize(
    ("fault", "unary", "stream"),
    [
        ("truncated", "Error", "Error"),
        ("unavailable", "503", "503"),
        ("error_event", None, "had an error while processing"),
        ("bad_json", None, "JSONDecodeError"),
        ("refuse", "Connect", "Connect"),
    ],
)
async def test_what_happens_on_the_wire_is_an_answer_that_says_so(
    client: Client, fault: str, unary: str | None, stream: str
) -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet) as pool:
        with fleet[0].fault(fault):
            await fleet.faults.settled()
            answers = [await pool.request(0, "hello"), await pool.stream(0, "hello")]
        await fleet.faults.settled()
    for answer, error in zip(answers, (unary, stream), strict=True):
        assert answer.ok is (error is None)
        assert (error or "") in answer.error


@BOTH
async def test_the_time_limit_is_the_clients(client: Client) -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet, Options(timeout=0.05)) as pool:
        with fleet[0].fault("hang"):
            answer = await pool.request(0, "hello")
        assert not answer.ok
        assert "Timeout" in answer.error


@BOTH
def test_it_has_no_views_and_says_so(client: Client) -> None:
    assert client.features == {"retries"}
    with pytest.raises(NotImplementedError, match="no sub-clients"):
        client.build([], Options()).view("slice", 0, 1)


@BOTH
@pytest.mark.parametrize(("steps", "ok", "attempts"), [("unavailable", True, 2), ("4x unavailable", False, 2)])
async def test_what_it_sends_again_is_told_as_attempts(client: Client, steps: str, ok: bool, attempts: int) -> None:
    async with Fleet(1, seed=1) as fleet, opened(client, fleet, Options(tries=2)) as pool:
        fleet[0].script(steps)
        outcome = cast("CountedOutcome", await pool.request(0, "hello"))
        assert (outcome.ok, outcome.attempts, fleet.ledger.requests) == (ok, attempts, 2)
