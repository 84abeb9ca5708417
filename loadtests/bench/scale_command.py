"""`python -m loadtests.bench scale` and `... soak`: their options, what they print, and the exit code.

0 when both ends agree and all is as it was, 1 when not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import aiohttp

from loadtests.bench.scale import Load, Run, alternately, run_scale
from loadtests.bench.soak import Rest, Soak, run_soak
from loadtests.fleet import FleetFailed
from loadtests.summary import failed, verdict

__all__ = ["scale", "soak"]


def scale(arguments: Sequence[str] | None = None) -> int:
    """Run it as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench scale", description="One pool over thousands of agents, and what limits it."
    )
    usual = Load()
    _add(parser, "--agents", int, usual.agents, "Servers of the fleet.")
    _add(parser, "--in-flight", int, usual.in_flight, "Requests under way at once.")
    _add(parser, "--requests", int, usual.requests, "Requests in all.")
    _add(parser, "--processes", int, usual.processes, "Processes that the fleet is spread over.")
    _add(parser, "--seconds", float, None, "End after so long, whatever is left.")
    _add(parser, "--every", float, usual.every, "Seconds between two points.")
    parser.add_argument("--table", action="store_true", help="Compare a fleet in one process with one in two.")
    _add(parser, "--rounds", int, 3, "How often each of the table's rows is measured.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Also write the figures there.")
    given = parser.parse_args(arguments)
    return _refusing(parser, lambda: _table(given) if given.table else _scale(given))


def soak(arguments: Sequence[str] | None = None) -> int:
    """Run it as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench soak", description="Whether the end is as it was after the first minute."
    )
    usual = Soak()
    _add(parser, "--minutes", int, usual.minutes, "Minutes of load; after each comes a rest of some seconds.")
    _add(parser, "--agents", int, usual.agents, "Servers of the fleet.")
    _add(parser, "--in-flight", int, usual.in_flight, "Requests under way at once.")
    _add(parser, "--processes", int, usual.processes, "Processes that the fleet is spread over.")
    _add(parser, "--ttft", float, usual.ttft, "Seconds until an answer.")
    _add(parser, "--stretch", float, usual.stretch, "Seconds that such a minute has.")
    _add(parser, "--growth", float, usual.growth, "Bytes by which the client's memory may grow.")
    _add(parser, "--fleet-growth", float, usual.fleet_growth, "Bytes by which the fleet's may.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Also write the figures there.")
    given = parser.parse_args(arguments)
    return _refusing(parser, lambda: _soak(given))


def _add(
    parser: argparse.ArgumentParser, flag: str, kind: type[int | float], default: float | None, about: str
) -> None:
    shown = "" if default is None else f" [{default:g}]"
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=about + shown)


def _refusing(parser: argparse.ArgumentParser, run: Callable[[], int]) -> int:
    try:
        return run()
    except (ValueError, OSError, FleetFailed) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _scale(given: argparse.Namespace) -> int:
    load = _made(Load, given)
    print(_machine())
    run = run_scale(load)
    for line in _points(run):
        print(line)
    print(_cost(run), f"limited by {run.shares.limit}", *failed(run.figures), *verdict(run.findings), sep="\n")
    _write(given.json, run.as_dict())
    return 0 if run.met else 1


def _points(run: Run) -> list[str]:
    rows = [f"{'seconds':>8}{'answered':>10}{'CPU us':>8}{'MB':>7}{'files':>7}{'opened':>8}{'reused':>9}{'open':>6}"]
    for each in run.points:
        counts = f"{each.descriptors:7}{each.opened:8}{each.reused:9}{each.open:6}"
        rows.append(f"{each.at:8.1f}{each.answered:10}{each.cpu_us:8.0f}{each.memory / 1e6:7.1f}{counts}")
    return rows


def _cost(run: Run) -> str:
    shares = run.shares
    each = " + ".join(f"{seconds / shares.seconds:.2f}" for seconds in shares.servers)
    return (
        f"{run.rate:,.0f} requests/s; CPU per request {run.client_us:.0f} us of the client, {run.server_us:.0f} us of "
        f"the fleet; of {shares.cores} cores the client used {shares.client / shares.seconds:.2f}, the fleet {each}, "
        f"all else {shares.others / shares.seconds:.2f}"
    )


def _table(given: argparse.Namespace) -> int:
    loads = [replace(_made(Load, given), processes=number) for number in (1, 2)]
    print(_machine())
    runs = []
    for load in alternately(loads, given.rounds):
        runs.append(run_scale(load))
        print(f"{load.processes} of the fleet: {_cost(runs[-1])}; limited by {runs[-1].shares.limit}", flush=True)
    for load in loads:
        rates = sorted(run.rate for run in runs if run.load is load)
        middle = statistics.median(rates)
        print(f"{load.processes} of the fleet: {middle:,.0f} requests/s ({rates[0]:,.0f} to {rates[-1]:,.0f})")
    _write(given.json, [run.as_dict() for run in runs])
    return 0 if all(run.met for run in runs) else 1


def _soak(given: argparse.Namespace) -> int:
    wanted = _made(Soak, given)
    print(_machine())
    print(f"{'answered':>10}{'files':>7}{'tasks':>7}{'MB':>8}{'fleet: files':>14}{'MB':>8}", flush=True)
    run = run_soak(wanted, _tell)
    print(*failed(run.figures), *verdict(run.findings), sep="\n")
    _write(given.json, run.as_dict())
    return 0 if run.met else 1


def _tell(rest: Rest) -> None:
    mine = f"{rest.answered:10}{rest.descriptors:7}{rest.tasks:7}{rest.memory / 1e6:8.1f}"
    print(f"{mine}{rest.fleet_descriptors:14}{rest.fleet_memory / 1e6:8.1f}", flush=True)


def _made(kind: type[Any], given: argparse.Namespace) -> Any:
    return kind(**{each.name: getattr(given, each.name) for each in fields(kind)})


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores"
    )


def _write(path: Path | None, figures: object) -> None:
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
