"""What a simulated world costs: our pool on our fleet in it beside bare aiohttp on both sides, and the start of a run.

A hunt for races makes a hundred thousand short runs, so what an empty one takes counts as much as what a request does.
"""

from __future__ import annotations

import statistics
import time

import simkernel
from loadtests.bench.measure import Figure, paired_ratio
from loadtests.bench.worlds import Load, Taken, play
from simkernel import Net

__all__ = ["simulated_cost"]

_RUNS = 200
_CASES = {"connections expire": 4.0, "connections are kept": 60.0}


async def _nothing(net: Net) -> None:
    """A program that is over at once."""


def _empty_run(rounds: int) -> Figure:
    """CPU milliseconds of `simkernel.run` around a program that does nothing, with all of ours imported."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        for seed in range(_RUNS):
            simkernel.run(_nothing, seed=seed)
        taken.append((time.process_time() - start) / _RUNS * 1e3)
    value = statistics.median(taken)
    detail = f"{min(taken):.3f} at best, {rounds} times {_RUNS} runs"
    return Figure("simulated, an empty run", value, "ms", "< 1", value < 1, detail)


def _told(name: str, runs: list[Taken]) -> str:
    per_second, speed, each, memory = (
        statistics.median(column)
        for column in zip(*((run.per_second, run.speed, run.cpu_each, run.memory) for run in runs), strict=True)
    )
    return (
        f"{name} {per_second:,.0f} requests and {speed:.0f} virtual seconds per wall second, "
        f"{each:.0f} us of CPU each, {memory / 1e6:.0f} MB"
    )


def _contest(case: str, load: Load, rounds: int) -> Figure:
    pairs = [(play("pool", "simulated", load), play("bare", "simulated", load)) for _ in range(rounds)]
    ratio, low, high = paired_ratio([(bare.cpu_each, ours.cpu_each) for ours, bare in pairs])
    detail = (
        f"{_told('ours', [ours for ours, _ in pairs])}; {_told('bare', [bare for _, bare in pairs])}; "
        f"quartiles {low:.2f} to {high:.2f}, {rounds} pairs"
    )
    name = f"simulated, pool on fleet : aiohttp on web.Server, requests per CPU second, {case}"
    return Figure(name, ratio, "x", ">= 0.75", ratio >= 0.75, detail)


def simulated_cost(rounds: int = 5) -> list[Figure]:
    """Requests per CPU second with 1,000 agents, 512 in flight and answers after 10 s, as ratios; and an empty run."""
    return [
        *(_contest(case, Load(keepalive=keepalive), rounds) for case, keepalive in _CASES.items()),
        _empty_run(rounds),
    ]
