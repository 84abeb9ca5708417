"""`python -m loadtests.run SCENARIO`: a load without locust, in one asyncio loop.

SCENARIO is one of ours or `module:function`, the function being `async def run(pool)`. Exit code: 0 when the run kept
its limits, 1 when it did not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from importlib import import_module

from fleetsim.errors import ControlError
from fleetsim.units import parse_duration
from loadtests.figures import Figures
from loadtests.fleet import FleetFailed, FleetUnderLoad, fleet_for
from loadtests.options import Options, add_options
from loadtests.report import Report
from loadtests.scenarios import SCENARIOS, Maker, Scenario, timed
from loadtests.shapes import Strike
from loadtests.summary import summary
from loadtests.thresholds import judge
from loadtests.timeline import Timeline, Window
from loadtests.traffic import Traffic
from swarmpool import SwarmPoolError, VLLMPool

__all__ = ["load", "main", "maker"]

_SAMPLE_SECONDS = 1.0


def maker(name: str) -> Maker:
    """Return what makes the scenario `name`. Raises ValueError for one that is not there."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    module, colon, function = name.partition(":")
    expected = f"SCENARIO: expected one of {', '.join(SCENARIOS)} or module:function, got {name!r}"
    if not colon:
        raise ValueError(expected)
    try:
        found: Scenario = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{expected}: {error}") from error
    return lambda _traffic, _figures: found


async def load(
    name: str,
    options: Options,
    fleet: FleetUnderLoad,
    *,
    users: int,
    duration: float,
    timeline: Timeline | None = None,
) -> Figures:
    """Let up to `users` users run the scenario for `duration` seconds, and return what was measured.

    Each finishes what it has begun; the pool is closed. `timeline` is told every second. What a scenario raises ends
    the run and is raised. Cancelling it ends all users.
    """
    figures, make = Figures(), maker(name)
    pool = VLLMPool(fleet.endpoints, **options.care, on_event=figures.event)
    try:
        async with pool, asyncio.TaskGroup() as group:
            course = _Course(options, users, duration, timeline or Timeline())
            group.create_task(course.watch(pool, figures))
            for number in range(users):
                run = make(Traffic(options.seed, number), figures)
                group.create_task(course.user(number, name, run, pool, figures))
            for strike in course.strikes(len(pool)):
                group.create_task(course.strike(strike, fleet))
    finally:
        figures.look(pool.statistics())
    return figures


class _Course:
    """One run, from its beginning on the loop's clock."""

    def __init__(self, options: Options, users: int, duration: float, timeline: Timeline) -> None:
        self._options, self._users, self._duration = options, users, duration
        self._timeline = timeline
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._shape = options.shape

    @property
    def _now(self) -> float:
        return self._loop.time() - self._began

    def strikes(self, size: int) -> tuple[Strike, ...]:
        return self._shape.strikes(self._duration, size, Traffic(self._options.seed, -1).chance)

    async def user(self, number: int, name: str, run: Scenario, pool: VLLMPool, figures: Figures) -> None:
        """One of the users: it sits out while the shape wants fewer than its number."""
        chance = Traffic(self._options.seed, number).chance
        while self._now < self._duration:
            if number < self._shape.users(self._now, self._users, self._duration):
                await timed(name, run, pool, figures)
                pause = self._shape.pause(self._now, chance)
            else:
                pause = self._duration / 100
            await asyncio.sleep(min(pause, max(0.0, self._duration - self._now)))

    async def watch(self, pool: VLLMPool, figures: Figures) -> None:
        """Add a point every second, and one at the end."""
        while (now := self._now) < self._duration:
            await asyncio.sleep(min(_SAMPLE_SECONDS, self._duration - now))
            figures.look(pool.statistics())
            users = self._shape.users(min(self._now, self._duration), self._users, self._duration)
            self._timeline.add(self._now, users, Figures.read(figures.written()))

    async def strike(self, strike: Strike, fleet: FleetUnderLoad) -> None:
        """Let the agents die that `strike` names, at its time."""
        await asyncio.sleep(strike.at)
        self._timeline.windows.append(Window(self._now, self._now + strike.lasts, strike.label))
        await asyncio.to_thread(fleet.arm, strike)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says, print the figures and the verdict, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description=__doc__.splitlines()[0])
    parser.add_argument("scenario", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}, or module:function")
    parser.add_argument("--users", type=int, default=16, metavar="N", help="Users at once, at most. [16]")
    parser.add_argument("--duration", type=parse_duration, default=30.0, metavar="TIME", help="Such as 30s. [30s]")
    add_options(parser, for_locust=False)
    given = parser.parse_args(arguments)
    try:
        if given.users < 1:
            raise ValueError(f"--users: expected a whole number of at least 1, got {given.users}")
        return _run(given, Options.read(vars(given)))
    except (ValueError, OSError, FleetFailed, ControlError, SwarmPoolError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace, options: Options) -> int:
    maker(given.scenario)
    with fleet_for(options) as fleet:
        before = fleet.ledger()
        timeline = Timeline()
        figures = asyncio.run(
            load(given.scenario, options, fleet, users=given.users, duration=given.duration, timeline=timeline)
        )
        after = fleet.quiet_ledger(before)
    findings = judge(figures, options.limits, before, after)
    if options.report is not None:
        Report(options, figures, findings, timeline, after).write(options.report)
    print(summary(figures, findings))
    return 0 if all(finding.met for finding in findings) else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
