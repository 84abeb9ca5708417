from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleetsim.fleet import Fleet
from fleetsim.proofs.aiohttp_client import AiohttpPool, client
from fleetsim.proofs.claim import endpoints_of
from fleetsim.proofs.client import Options


@asynccontextmanager
async def baseline(fleet: Fleet) -> AsyncIterator[AiohttpPool]:
    pool = client.build(endpoints_of(fleet), Options())
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def test_a_request_and_a_stream_bring_the_same_words() -> None:
    async with Fleet(1, seed=1) as fleet, baseline(fleet) as pool:
        unary, stream = await pool.request(0, "hello"), await pool.stream(0, "hello")
        assert unary.ok
        assert unary.text
        assert stream == unary
        assert (pool.counts().opened, pool.counts().reused) == (1, 1)


async def test_a_stream_can_be_left_after_its_first_words() -> None:
    async with Fleet(1, seed=1) as fleet, baseline(fleet) as pool:
        whole, left = await pool.stream(0, "hello"), await pool.stream(0, "hello", leave_after=1)
        assert left.ok
        assert len(left.text) < len(whole.text)
        assert whole.text.startswith(left.text)


async def test_what_happens_on_the_wire_is_an_answer_that_says_so() -> None:
    async with Fleet(1, seed=1, ending="truncated") as fleet, baseline(fleet) as pool:
        unary, stream = await pool.request(0, "hello"), await pool.stream(0, "hello")
        assert (unary.ok, stream.ok) == (False, False)
        assert unary.error.startswith("ClientPayloadError")


async def test_a_session_never_opened_is_refused() -> None:
    async with Fleet(1, seed=1) as fleet:
        with pytest.raises(RuntimeError, match="never opened"):
            await client.build(endpoints_of(fleet), Options()).request(0, "hello")


def test_it_has_no_views_and_says_so() -> None:
    assert not client.features
    with pytest.raises(NotImplementedError, match="no sub-clients"):
        client.build([], Options()).view("slice", 0, 1)
