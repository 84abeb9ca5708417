"""A server in a process of its own: `python -m loadtests.bench.peers.server_process KIND AGENTS`.

Says its ports and its loop, then answers `begin` and `end` with what serving has cost in between.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, TextIO

from loadtests.bench.peers.child import answer_lines, memory, run_child
from loadtests.bench.peers.lag import Lag

__all__ = ["ServingCost"]


class ServingCost:
    """CPU, memory and timer error of this process from `begin` to `end`."""

    def __init__(self) -> None:
        self._lag = Lag()
        self._cpu = 0.0

    async def begin(self) -> dict[str, Any]:
        """From now on it counts."""
        self._lag.begin()
        self._cpu = time.process_time()
        return {}

    async def end(self) -> dict[str, Any]:
        """Seconds of CPU and of lateness, and bytes."""
        cpu = time.process_time() - self._cpu
        return {"cpu": cpu, "lag": await self._lag.end(), "memory": memory()}


async def _serve(out: TextIO) -> None:
    kind, agents = sys.argv[1], int(sys.argv[2])
    serving: AbstractAsyncContextManager[list[int]]
    serving = import_module(f"loadtests.bench.peers.serve_{kind}").serving(agents)
    async with serving as ports:
        cost = ServingCost()
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        await answer_lines(out, {"ports": ports, "loop": loop}, {"begin": cost.begin, "end": cost.end})


if __name__ == "__main__":
    run_child(_serve, fast=True)
