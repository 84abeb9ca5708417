"""fleetsim: a fleet without latency."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleetsim import Fleet

__all__ = ["serving"]


@asynccontextmanager
async def serving(agents: int) -> AsyncIterator[list[int]]:
    """`agents` fake servers; yields their ports."""
    async with Fleet(agents) as fleet:
        yield [server.port for server in fleet]
