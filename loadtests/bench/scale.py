"""One pool over thousands of agents: what it costs, whether that stays the same, and what limits it.

Users ask the agents in turn, so that every agent is asked as often as any other. All figures are of one run; the
verdict compares the pool's count with the fleet's ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fleetsim.open_files import raise_open_files
from loadtests.bench.processes import Meter, Shares, descendants, descriptors, resident_bytes
from loadtests.figures import Figures
from loadtests.fleet import child_fleet
from loadtests.thresholds import Finding, Limits, judge
from swarmpool import AgentEndpoint, VLLMPool

__all__ = ["Load", "Point", "Run", "alternately", "pool_for", "run_scale", "users_ask"]

_PROMPT = "Tell me what a connection pool is for. " * 4
_OUTPUT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Load:
    """`in_flight` users ask until `requests` are answered, or `seconds` are over (None: never).

    `processes` are the fleet's. `every` so many seconds a point is taken.
    """

    agents: int = 4_000
    in_flight: int = 1_024
    requests: int = 200_000
    processes: int = 1
    seconds: float | None = None
    every: float = 5.0

    def __post_init__(self) -> None:
        for name in ("agents", "in_flight", "requests", "processes", "seconds", "every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"--{name.replace('_', '-')}: expected more than 0, got {value}")


@dataclass(frozen=True, slots=True)
class Point:
    """The client at one moment, `at` seconds from the beginning; `cpu_us` is for each request since the last point."""

    at: float
    answered: int
    cpu_us: float
    memory: int
    descriptors: int
    tasks: int
    opened: int
    reused: int
    open: int


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a load. `shares` are of the time from the first request to the closed pool."""

    load: Load
    figures: Figures
    points: tuple[Point, ...]
    shares: Shares
    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool:
        """Whether both ends agree, and nothing failed."""
        return all(finding.met for finding in self.findings)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.figures.responses / self.shares.seconds

    @property
    def client_us(self) -> float:
        """CPU microseconds of the client, the load itself included, for each request."""
        return self.shares.client / self.figures.responses * 1e6

    @property
    def server_us(self) -> float:
        """CPU microseconds of all processes of the fleet for each request."""
        return sum(self.shares.servers) / self.figures.responses * 1e6

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "load": asdict(self.load),
            "requests": self.figures.responses,
            "requests_per_second": self.rate,
            "client_cpu_us": self.client_us,
            "server_cpu_us": self.server_us,
            "shares": asdict(self.shares) | {"limit": self.shares.limit},
            "connections": self.figures.connections,
            "failures": self.figures.written()["failures"],
            "points": [asdict(point) for point in self.points],
            "findings": [asdict(finding) for finding in self.findings],
        }


def pool_for(endpoints: Sequence[AgentEndpoint], in_flight: int) -> VLLMPool:
    """Return a pool with room for an idle connection to each agent."""
    limit = len(endpoints) + in_flight
    return VLLMPool(endpoints, model="sim", concurrency=in_flight, connector_limit=limit, max_tokens=_OUTPUT_TOKENS)


async def users_ask(pool: VLLMPool, numbers: Iterator[int], in_flight: int, until: float, figures: Figures) -> None:
    """Let `in_flight` users send a request for each of the `numbers`, to the agents in turn, until the loop's time is
    `until`."""
    loop = asyncio.get_running_loop()

    async def user() -> None:
        for number in numbers:
            began = loop.time()
            response = await pool.post(number % pool.size, _PROMPT, _OUTPUT_TOKENS)
            figures.record("scale", loop.time() - began, (response,))
            if loop.time() >= until:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(user())


class _Watch:
    """Takes the points of a run."""

    def __init__(self, pool: VLLMPool, figures: Figures) -> None:
        self._pool, self._figures = pool, figures
        self._began = time.perf_counter()
        self._last = (0, time.process_time())
        self.points: list[Point] = []

    async def look_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self.look()

    def look(self) -> None:
        """Take a point, unless nothing has been answered since the last."""
        answered, cpu = self._figures.responses, time.process_time()
        new, spent = answered - self._last[0], cpu - self._last[1]
        if not new:
            return
        self._last = (answered, cpu)
        counted = self._pool.statistics().connections
        self.points.append(
            Point(
                at=time.perf_counter() - self._began,
                answered=answered,
                cpu_us=spent / new * 1e6,
                memory=resident_bytes(os.getpid()),
                descriptors=descriptors(os.getpid()),
                tasks=len(asyncio.all_tasks()),
                opened=counted.opened,
                reused=counted.reused,
                open=counted.open,
            )
        )


async def _drive(load: Load, endpoints: Sequence[AgentEndpoint], figures: Figures) -> list[Point]:
    pool = pool_for(endpoints, load.in_flight)
    try:
        async with pool:
            watch = _Watch(pool, figures)
            looking = asyncio.create_task(watch.look_every(load.every))
            until = asyncio.get_running_loop().time() + load.seconds if load.seconds is not None else float("inf")
            try:
                await users_ask(pool, iter(range(load.requests)), load.in_flight, until, figures)
            finally:
                looking.cancel()
            watch.look()
    finally:
        figures.look(pool.statistics())
    return watch.points


def run_scale(load: Load) -> Run:
    """Run `load` against a fleet of its own, and return what was measured.

    Raises FleetFailed when there cannot be such a fleet. Not inside a loop.
    """
    raise_open_files(load.agents + load.in_flight)
    figures = Figures()
    with child_fleet(load.agents, processes=load.processes) as fleet:
        before = fleet.ledger()
        meter = Meter(os.getpid(), descendants(os.getpid()))
        points = asyncio.run(_drive(load, fleet.endpoints, figures))
        shares = meter.shares()
        after = fleet.quiet_ledger(before)
    return Run(load, figures, tuple(points), shares, judge(figures, Limits(), before, after))


def alternately(loads: Sequence[Load], rounds: int) -> Iterator[Load]:
    """Each of the loads in turn, so many times, every other time in reverse: what drifts meets all of them alike."""
    return itertools.chain.from_iterable(loads if turn % 2 == 0 else reversed(loads) for turn in range(rounds))
