"""How late the timers of a running loop are. Needs nothing but the standard library: it runs in others' processes."""

from __future__ import annotations

import asyncio
import contextlib
import time

__all__ = ["Lag"]

_SLEEP_SECONDS = 0.01


class Lag:
    """Sleeps 10 ms over and over from `begin` to `end`. For one loop, one measurement at a time."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start sleeping; forgets what was before."""
        self._late = []
        self._task = asyncio.get_running_loop().create_task(self._sleep())

    async def end(self) -> dict[str, float]:
        """Stop, and return seconds too late: `p50`, `p99` and `max`; 0 where not one sleep has ended."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        return percentiles(self._late)

    async def _sleep(self) -> None:
        while True:
            due = time.perf_counter() + _SLEEP_SECONDS  # uvloop's own clock has whole milliseconds only
            await asyncio.sleep(_SLEEP_SECONDS)
            self._late.append(max(0.0, time.perf_counter() - due))


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    last = len(ordered) - 1
    return {"p50": ordered[round(last * 0.5)], "p99": ordered[round(last * 0.99)], "max": ordered[last]}
