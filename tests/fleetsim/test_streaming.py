from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from asking import JSON, app
from virtual_clock import Clock, on_clock

from fleetsim.api.streaming import usage_counts
from fleetsim.exchange import ApiRequest, EventStream
from fleetsim.profile import Profile

SLOW = Profile(ttft=1, itl=1, output_tokens=5)
BODY = b'{"prompt":["a","b"],"stream":true,"max_tokens":5}'


async def opened() -> AsyncGenerator[bytes, None]:
    reply = await app(SLOW)(ApiRequest("POST", "/v1/completions", "", JSON, BODY))
    assert isinstance(reply, EventStream)
    assert isinstance(reply.events, AsyncGenerator)
    return reply.events


def test_usage_is_counted_in_vllms_order() -> None:
    assert usage_counts(12, 3) == b'"prompt_tokens":12,"total_tokens":15,"completion_tokens":3'


def test_tokens_of_one_step_leave_at_one_instant() -> None:
    async def scenario(clock: Clock) -> list[float]:
        start = clock.time()
        return [clock.time() - start async for _ in await opened()]

    assert on_clock(scenario) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]


def test_a_closed_stream_makes_no_more_tokens() -> None:
    async def scenario(clock: Clock) -> tuple[int, float]:
        async with aclosing(await opened()) as events:
            await anext(events)
            before = clock.timers
        await asyncio.sleep(100)
        return clock.timers - before, clock.time()

    timers, _ = on_clock(scenario)
    assert timers == 1  # the sleep's own


def test_a_stream_cancelled_while_it_waits_leaves_no_timer() -> None:
    async def scenario(clock: Clock) -> float:
        events = await opened()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        before = clock.time()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await events.aclose()
        return clock.time() - before

    assert on_clock(scenario) == 0
