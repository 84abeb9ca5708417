"""How long it takes to be ready, and how much memory that is: a pool over many agents, a fleet of many servers."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time

from loadtests.bench.measure import Figure

__all__ = ["start_up"]

_AGENTS = 4_000


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _measure_pool(size: int) -> tuple[float, int]:
    from swarmpool import VLLMPool  # noqa: PLC0415 - in a child process, so that its memory is its own

    addresses = [(f"10.0.{index // 250}.{index % 250 + 1}", 8000) for index in range(size)]
    before, start = _resident_bytes(), time.perf_counter()
    pool = VLLMPool(addresses)
    seconds = time.perf_counter() - start
    assert pool.size == size
    return seconds, _resident_bytes() - before


async def _measure_fleet(size: int) -> tuple[float, int]:
    from fleetsim import Fleet  # noqa: PLC0415 - as above

    async with Fleet(1):  # imports and the first server's one-time costs are not a server's
        pass
    before, start = _resident_bytes(), time.perf_counter()
    async with Fleet(size):
        return time.perf_counter() - start, _resident_bytes() - before


def _in_child(what: str, size: int, runs: int) -> tuple[float, float]:
    """Medians of seconds and bytes, each run in a new process."""
    results = []
    for _ in range(runs):
        command = [sys.executable, "-m", "loadtests.bench.start_up", what, str(size)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        results.append((float(output[0]), float(output[1])))
    seconds, memory = zip(*results, strict=True)
    return statistics.median(seconds), statistics.median(memory)


def start_up(runs: int = 5) -> list[Figure]:
    """Seconds and bytes for a pool over 4,000 agents and for fleets of 1,000 and 4,000 servers."""
    seconds, memory = _in_child("pool", _AGENTS, runs)
    runs_of = f"median of {runs} new processes"
    megabytes = memory / 1e6
    figures = [
        Figure(f"pool over {_AGENTS:,} agents, construction", seconds, "s", "< 0.1", seconds < 0.1, runs_of),
        Figure(f"pool over {_AGENTS:,} agents, memory", megabytes, "MB", "< 20", megabytes < 20, runs_of),
    ]
    for size, goal in ((1_000, 0.5), (4_000, 2.0)):
        seconds, memory = _in_child("fleet", size, runs)
        each = memory / size / 1e3
        figures.append(Figure(f"fleet of {size:,}, start", seconds, "s", f"< {goal}", seconds < goal, runs_of))
        figures.append(Figure(f"fleet of {size:,}, memory per server", each, "kB", "< 12", each < 12, runs_of))
    return figures


if __name__ == "__main__":
    subject, number = sys.argv[1], int(sys.argv[2])
    print(*(_measure_pool(number) if subject == "pool" else asyncio.run(_measure_fleet(number))))
