from __future__ import annotations

import asyncio
import time

from loadtests.bench.peers.lag import Lag, percentiles


async def test_a_loop_that_was_busy_is_that_late() -> None:
    lag = Lag()
    lag.begin()
    await asyncio.sleep(0)  # it sleeps
    asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # and the loop is kept from waking it
    await asyncio.sleep(0.02)
    late = await lag.end()
    assert late["max"] >= 0.03
    assert late["p50"] <= late["p99"] <= late["max"]


async def test_without_one_sleep_there_is_no_lateness() -> None:
    lag = Lag()
    lag.begin()
    assert await lag.end() == {"p50": 0.0, "p99": 0.0, "max": 0.0}
    assert await Lag().end() == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([float(number) for number in range(100, -1, -1)]) == {"p50": 50.0, "p99": 99.0, "max": 100.0}
