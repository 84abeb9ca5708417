"""What a `ConnectionPool` costs: dials at once, a get and a put, and what it has idle and waiting.

Beside it stands the pool whose place it takes, livekit's, if `livekit-agents` is installed; nothing else needs it.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from loadtests.bench.measure import Figure, paired_ratio, quiet_gc
from swarmpool import ConnectionPool

__all__ = ["connection_pool_cost"]

_DIAL_SECONDS = 0.05
_PAIRS = 5_000
_FEW, _MANY = 10, 10_000


class _Pool(Protocol):
    """What both pools have."""

    async def get(self, *, timeout: float) -> object: ...

    def put(self, conn: Any, /) -> None: ...

    async def aclose(self) -> None: ...


_Maker = Callable[[Callable[[float], Awaitable[object]]], _Pool]


class _Connection:
    """A connection without anything behind it."""


def _model() -> type[Any] | None:
    try:
        module = importlib.import_module("livekit.agents.utils.connection_pool")
    except ImportError:
        return None
    model: type[Any] = module.ConnectionPool
    return model


def _ours(connect: Callable[[float], Awaitable[object]]) -> _Pool:
    return ConnectionPool[object](connect_cb=connect, max_session_duration=3600.0)


def _theirs(model: type[Any]) -> _Maker:
    def make(connect: Callable[[float], Awaitable[object]]) -> _Pool:
        pool: _Pool = model(connect_cb=connect, max_session_duration=3600.0)
        return pool

    return make


async def _connect(_timeout: float) -> object:
    return _Connection()


async def _connect_slowly(_timeout: float) -> object:
    await asyncio.sleep(_DIAL_SECONDS)
    return _Connection()


async def _ten_at_once(make: _Maker) -> float:
    """Seconds until ten callers of an empty pool have a connection."""
    pool = make(_connect_slowly)
    start = time.perf_counter()
    connections = await asyncio.gather(*(pool.get(timeout=10.0) for _ in range(10)))
    taken = time.perf_counter() - start
    for connection in connections:
        pool.put(connection)
    await pool.aclose()
    return taken


async def _get_and_put(pool: _Pool) -> float:
    """CPU microseconds for a get and a put of an idle connection."""
    with quiet_gc():
        start = time.process_time()
        for _ in range(_PAIRS):
            pool.put(await pool.get(timeout=10.0))
        return (time.process_time() - start) / _PAIRS * 1e6


async def _serve_line(pool: ConnectionPool[object], waiting: int) -> float:
    """CPU microseconds for each of `waiting` callers in one line to be served, when it is 10,000 in all."""

    async def caller() -> None:
        pool.put(await pool.get(timeout=600.0))

    taken = 0.0
    with quiet_gc():
        for _ in range(_MANY // waiting):
            held = await pool.get()
            tasks = [asyncio.ensure_future(caller()) for _ in range(waiting)]
            await asyncio.sleep(0)
            start = time.process_time()
            pool.put(held)
            await asyncio.gather(*tasks)
            taken += time.process_time() - start
    return taken / _MANY * 1e6


async def _filled(idle: int) -> ConnectionPool[object]:
    pool = ConnectionPool[object](connect_cb=_connect, max_age=3600.0, max_idle=600.0)
    await pool.prewarm(idle)
    return pool


async def _dials(model: type[Any] | None) -> Figure:
    ours = statistics.median([await _ten_at_once(_ours) for _ in range(5)]) / _DIAL_SECONDS
    detail = "livekit-agents is not installed"
    if model is not None:
        detail = f"livekit's: {await _ten_at_once(_theirs(model)) / _DIAL_SECONDS:.2f}"
    name = f"ConnectionPool, 10 gets at once with a dial of {_DIAL_SECONDS * 1000:.0f} ms"
    return Figure(name, ours, "dials", "<= 1.5", ours <= 1.5, detail)


async def _pairs(model: type[Any] | None, rounds: int) -> Figure:
    pools = [_ours(_connect)] + ([] if model is None else [_theirs(model)(_connect)])
    for pool in pools:
        pool.put(await pool.get(timeout=10.0))
        await _get_and_put(pool)
    runs = [[await _get_and_put(pool) for pool in pools] for _ in range(rounds)]
    ours, *theirs = (statistics.median(column) for column in zip(*runs, strict=True))
    for pool in pools:
        await pool.aclose()
    detail = f"livekit's: {theirs[0]:.2f} us" if theirs else "livekit-agents is not installed"
    return Figure("ConnectionPool, get + put of an idle connection, CPU", ours, "us", "<= 5", ours <= 5, detail)


async def _idle_ratio(rounds: int) -> Figure:
    few, many = await _filled(_FEW), await _filled(_MANY)
    pairs = [(await _get_and_put(many), await _get_and_put(few)) for _ in range(rounds + 1)][1:]
    await few.aclose()
    await many.aclose()
    return _ratio("ConnectionPool, get + put, 10,000 idle : 10", pairs)


async def _waiting_ratio(rounds: int) -> Figure:
    pool = ConnectionPool[object](connect_cb=_connect, max_size=1)
    pairs = [(await _serve_line(pool, _MANY), await _serve_line(pool, _FEW)) for _ in range(rounds + 1)][1:]
    await pool.aclose()
    return _ratio("ConnectionPool, wait and be served, 10,000 waiting : 10", pairs)


def _ratio(name: str, pairs: list[tuple[float, float]]) -> Figure:
    ratio, low, high = paired_ratio(pairs)
    best = min(first for first, _ in pairs)
    detail = f"{best:.2f} us at best; quartiles {low:.2f} to {high:.2f} of {len(pairs)} pairs"
    return Figure(name, ratio, "x", "<= 1.3", ratio <= 1.3, detail)


async def connection_pool_cost(rounds: int = 5) -> list[Figure]:
    """Four figures: two beside the model's, two ratios."""
    model = _model()
    return [await _dials(model), await _pairs(model, rounds), await _idle_ratio(rounds), await _waiting_ratio(rounds)]
