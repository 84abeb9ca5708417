"""What is left of a minute of load, minute after minute: descriptors, tasks and memory of both ends, at rest.

A minute is a stretch of load, whose users all finish. Then the pool is left alone until it has closed its last idle
connection, and that is a rest: nothing is under way, so descriptors and tasks can be counted, and are to be exactly as
many as at the first rest. Memory may grow by no more than a bound that is stated.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fleetsim.open_files import raise_open_files
from loadtests.bench.processes import descendants, descriptors, resident_bytes
from loadtests.bench.scale import pool_for, users_ask
from loadtests.figures import Figures
from loadtests.fleet import FleetUnderLoad, child_fleet
from loadtests.thresholds import Finding, Limits, judge

__all__ = ["Rest", "Soak", "SoakRun", "judge_rests", "run_soak"]

_PATIENCE = 60.0
_PAUSE = 0.1
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Soak:
    """`minutes` stretches of load of `stretch` seconds each, by `in_flight` users, each answer after `ttft` seconds.

    `growth` and `fleet_growth` are how many bytes bigger the memory of either end may be at the last rest than at the
    first: the fleet's journal fills with its latest 100,000 connections and requests, and grows no more from then on.
    """

    minutes: int = 10
    agents: int = 4_000
    in_flight: int = 1_024
    processes: int = 1
    ttft: float = 1.0
    stretch: float = 60.0
    growth: float = 16e6
    fleet_growth: float = 48e6

    def __post_init__(self) -> None:
        for name, least in {"minutes": 2, "agents": 1, "in_flight": 1, "processes": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')}: expected at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Rest:
    """Both ends at rest, after `answered` requests: descriptors, memory in bytes, and tasks of the client's loop."""

    answered: int
    descriptors: int
    tasks: int
    memory: int
    fleet_descriptors: int
    fleet_memory: int


@dataclass(frozen=True, slots=True)
class SoakRun:
    """What came of it, a rest for each minute."""

    soak: Soak
    figures: Figures
    rests: tuple[Rest, ...]
    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool:
        """Whether everything at the end is as it was after the first minute, and both ends agree."""
        return all(finding.met for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "soak": asdict(self.soak),
            "connections": self.figures.connections,
            "failures": self.figures.written()["failures"],
            "rests": [asdict(rest) for rest in self.rests],
            "findings": [asdict(finding) for finding in self.findings],
        }


def judge_rests(first: Rest, last: Rest, growth: float, fleet_growth: float) -> tuple[Finding, ...]:
    """Return whether the last rest is as the first: counts exactly, memory but for so many bytes."""
    exactly = {
        "descriptors": (last.descriptors, first.descriptors),
        "tasks": (last.tasks, first.tasks),
        "fleet's descriptors": (last.fleet_descriptors, first.fleet_descriptors),
    }
    return (
        *(Finding(name, str(now), f"{then}", now == then) for name, (now, then) in exactly.items()),
        _bounded("memory", last.memory, first.memory, growth),
        _bounded("fleet's memory", last.fleet_memory, first.fleet_memory, fleet_growth),
    )


def _bounded(name: str, now: int, then: int, growth: float) -> Finding:
    found = f"{now / _MEGABYTE:.1f} MB"
    wanted = f"at most {growth / _MEGABYTE:.0f} MB more than {then / _MEGABYTE:.1f} MB"
    return Finding(name, found, wanted, now - then <= growth)


@dataclass(slots=True)
class _Soaking:
    """A soak under way. `tell` is given each rest."""

    soak: Soak
    fleet: FleetUnderLoad
    tell: Callable[[Rest], None]
    figures: Figures = field(default_factory=Figures)
    rests: list[Rest] = field(default_factory=list)

    async def run(self) -> None:
        """Do all stretches, each followed by a rest."""
        pool = pool_for(self.fleet.endpoints, self.soak.in_flight)
        servers = descendants(os.getpid())
        numbers: Iterator[int] = itertools.count()
        loop = asyncio.get_running_loop()
        try:
            async with pool:
                for _ in range(self.soak.minutes):
                    await users_ask(pool, numbers, self.soak.in_flight, loop.time() + self.soak.stretch, self.figures)
                    await _until(lambda: pool.statistics().connections.open == 0)
                    self.rests.append(await self._rest(servers))
                    self.tell(self.rests[-1])
        finally:
            self.figures.look(pool.statistics())

    async def _rest(self, servers: Sequence[int]) -> Rest:
        gc.collect()
        return Rest(
            answered=self.figures.responses,
            descriptors=descriptors(os.getpid()),
            tasks=len(asyncio.all_tasks()),
            memory=resident_bytes(os.getpid()),
            fleet_descriptors=await _settled(lambda: sum(map(descriptors, servers))),
            fleet_memory=sum(map(resident_bytes, servers)),
        )


async def _until(come_true: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while not come_true():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"the pool has had open connections for {_PATIENCE:.0f} s after the last request")
        await asyncio.sleep(_PAUSE)


async def _settled(count: Callable[[], int]) -> int:
    """Return the count when it has stayed the same: the other end closes a moment later."""
    seen = [count()]
    while seen[-3:] != [seen[-1]] * 3:
        await asyncio.sleep(_PAUSE)
        seen.append(count())
    return seen[-1]


@contextlib.contextmanager
def _profile(soak: Soak) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", prefix="soak-", suffix=".yaml", encoding="utf-8") as file:
        file.write(f"ttft: {soak.ttft}\n")
        file.flush()
        yield file.name


def run_soak(soak: Soak, tell: Callable[[Rest], None] = lambda _: None) -> SoakRun:
    """Run `soak` against a fleet of its own, and return what was measured; `tell` is given each rest.

    Raises FleetFailed when there cannot be such a fleet. Not inside a loop.
    """
    raise_open_files(soak.agents + soak.in_flight)
    with _profile(soak) as profile, child_fleet(soak.agents, profile=profile, processes=soak.processes) as fleet:
        before = fleet.ledger()
        soaking = _Soaking(soak, fleet, tell)
        asyncio.run(soaking.run())
        after = fleet.quiet_ledger(before)
    rests = tuple(soaking.rests)
    findings = judge(soaking.figures, Limits(), before, after) + judge_rests(
        rests[0], rests[-1], soak.growth, soak.fleet_growth
    )
    return SoakRun(soak, soaking.figures, rests, findings)
