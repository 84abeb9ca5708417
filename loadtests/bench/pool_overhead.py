"""What `VLLMPool.post` costs over a bare `ClientSession.post` that does the same JSON work: CPU per request.

The servers run in a process of their own, so that this process's CPU is the client's alone.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from loadtests.bench.measure import Figure, cpu_seconds, paired_ratio
from loadtests.bench.servers import serving
from swarmpool import VLLMPool

__all__ = ["pool_overhead"]

_CONCURRENT = 64
_PROMPT = "Tell me what a connection pool is for. " * 8
_BODY = {"model": "sim", "messages": [{"role": "user", "content": _PROMPT}], "max_tokens": 64}


async def _bare(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(url, json=_BODY) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
    return str(answer["choices"][0]["message"]["content"])


async def _pooled(pool: VLLMPool) -> str:
    return (await pool.post(0, _PROMPT, 64)).unwrap()


async def _load(send: Callable[[], Awaitable[str]], requests: int) -> None:
    async def user() -> None:
        for _ in range(requests // _CONCURRENT):
            await send()

    await asyncio.gather(*(user() for _ in range(_CONCURRENT)))


async def pool_overhead(rounds: int = 30, requests: int = 640) -> list[Figure]:
    """The ratio, and both absolute figures."""
    async with serving("fleet", 1) as ports:
        url = f"http://127.0.0.1:{ports[0]}/v1/chat/completions"
        async with (
            aiohttp.ClientSession() as session,
            VLLMPool([("127.0.0.1", ports[0])], model="sim", concurrency=_CONCURRENT) as pool,
        ):

            def bare() -> Awaitable[None]:
                return _load(lambda: _bare(session, url), requests)

            def pooled() -> Awaitable[None]:
                return _load(lambda: _pooled(pool), requests)

            for warm_up in (bare, pooled):
                await warm_up()
            pairs = [(await cpu_seconds(pooled), await cpu_seconds(bare)) for _ in range(rounds)]
    ratio, low, high = paired_ratio(pairs)
    ours, theirs = (statistics.median(column) / requests * 1e6 for column in zip(*pairs, strict=True))
    detail = (
        f"{ours:.0f} us against {theirs:.0f} us; quartiles {low:.3f} to {high:.3f}, "
        f"{rounds} pairs of {requests} requests, {_CONCURRENT} at once"
    )
    return [Figure("VLLMPool.post : ClientSession.post, CPU per request", ratio, "x", "<= 1.10", ratio <= 1.10, detail)]
