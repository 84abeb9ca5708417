"""What `VLLMPool.stream` costs over a bare `ClientSession.post` that reads the same events: CPU per stream.

Twice: against a reader that also takes the text out of each event, as any program must, and against one that reads the
bytes and looks at none of them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp

from loadtests.bench.measure import Figure, cpu_seconds, paired_ratio
from loadtests.bench.servers import serving
from swarmpool import VLLMPool

__all__ = ["stream_overhead"]

_CONCURRENT = 16
_TOKENS = 100
_PROMPT = "Tell me what a connection pool is for. " * 8
_BODY = {
    "model": "sim",
    "messages": [{"role": "user", "content": _PROMPT}],
    "max_tokens": _TOKENS,
    "stream": True,
    "stream_options": {"include_usage": True},
}

Send = Callable[[], Awaitable[object]]


def _text_of(event: bytes) -> str:
    choices = json.loads(event)["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""


async def _read_text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(url, json=_BODY) as response:
        return "".join([_text_of(line[6:]) async for line in response.content if line.startswith(b"data: {")])


async def _read_bytes(session: aiohttp.ClientSession, url: str) -> int:
    size = 0
    async with session.post(url, json=_BODY) as response:
        async for piece in response.content.iter_any():
            size += len(piece)
    return size


async def _pooled(pool: VLLMPool) -> str:
    return (await pool.stream(0, _PROMPT, _TOKENS)).unwrap()


async def _load(send: Send, streams: int) -> None:
    async def user() -> None:
        for _ in range(streams // _CONCURRENT):
            await send()

    await asyncio.gather(*(user() for _ in range(_CONCURRENT)))


async def stream_overhead(rounds: int = 15, streams: int = 64) -> list[Figure]:
    """Both ratios, as requests per CPU second of the pool's : the bare reader's."""
    async with serving("fleet", 1) as ports:
        url = f"http://127.0.0.1:{ports[0]}/v1/chat/completions"
        async with (
            aiohttp.ClientSession() as session,
            VLLMPool([("127.0.0.1", ports[0])], model="sim", concurrency=_CONCURRENT) as pool,
        ):
            sends: list[Send] = [
                lambda: _pooled(pool),
                lambda: _read_text(session, url),
                lambda: _read_bytes(session, url),
            ]
            for send in sends:
                await _load(send, _CONCURRENT)
            loads = [partial(_load, send, streams) for send in sends]
            rows = [[await cpu_seconds(load) for load in loads] for _ in range(rounds)]
    medians = [statistics.median(column) / streams * 1e6 for column in zip(*rows, strict=True)]
    return [
        _figure("that reads the text", [(row[1], row[0]) for row in rows], medians[0], medians[1], streams, goal=0.85),
        _figure("that reads the bytes", [(row[2], row[0]) for row in rows], medians[0], medians[2], streams, goal=None),
    ]


def _figure(
    whom: str, pairs: list[tuple[float, float]], ours: float, theirs: float, streams: int, *, goal: float | None
) -> Figure:
    ratio, low, high = paired_ratio(pairs)
    detail = (
        f"{ours:.0f} us against {theirs:.0f} us for {_TOKENS} tokens; quartiles {low:.3f} to {high:.3f}, "
        f"{len(pairs)} pairs of {streams} streams, {_CONCURRENT} at once"
    )
    name = f"VLLMPool.stream : ClientSession.post {whom}, streams per CPU second"
    wished = "none: it does not decode" if goal is None else f">= {goal}"
    return Figure(name, ratio, "x", wished, goal is None or ratio >= goal, detail)
