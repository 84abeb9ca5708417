"""A server whose process ends while it answers, or falls asleep: no caller may take what it has for a whole answer."""

from __future__ import annotations

import asyncio

import pytest

from fleetsim import Fleet, Profile
from swarmpool import VLLMPool

# One that is never done by itself.
SLOW = Profile(itl=3600.0)


@pytest.mark.parametrize(
    ("fault", "unary", "stream"),
    [
        ("sigterm_abort", "aborted", "aborted"),
        ("sleep", "aborted", "aborted"),
        ("engine_death", "status", "stream_error"),
        ("kill", "disconnected", "truncated"),
    ],
)
async def test_what_was_under_way_is_a_failure_of_its_kind(fault: str, unary: str, stream: str) -> None:
    async with Fleet(1, seed=1, profile=SLOW) as fleet:
        agents = [(server.host, server.port) for server in fleet.endpoints]
        async with VLLMPool(agents, model="sim", max_tokens=60, model_max_context=4096) as pool:
            streaming = pool.stream(0, "hello")
            first = await anext(aiter(streaming))
            posting = asyncio.create_task(pool.post(0, "hello"))
            await fleet.ledger.wait_for(in_flight=2)
            async with fleet[0].fault(fault):
                streamed, posted = await streaming, await posting
        assert (posted.success, posted.kind) == (False, unary)
        assert (streamed.success, streamed.kind) == (False, stream)
        assert first.text
        assert streamed.text.startswith(first.text)
