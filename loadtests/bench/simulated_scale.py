"""`python -m loadtests.bench simulated-scale`: a large load in a simulated world, beside the same one on loopback.

On loopback as many seconds of load take as many of ours, and each agent and each connection takes descriptors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from loadtests.bench.worlds import Load, Taken, play

__all__ = ["simulated_scale"]

_USUAL = Load(agents=10_000, in_flight=4_096, seconds=600.0, segments=False)
_COUNTS = f"{'':20}{'requests':>10}{'failed':>7}{'seconds':>9}{'wall':>8}"
_HEADING = f"{_COUNTS}{'requests/s':>12}{'seconds/s':>11}{'CPU us':>8}{'MB':>7}"


def simulated_scale(arguments: Sequence[str] | None = None) -> int:
    """Play it as the command line says, and return the exit code: 0, 1 where a run failed, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench simulated-scale",
        description="Our pool on our fleet in a simulated world, with as many agents as are asked for.",
    )
    parser.add_argument("--agents", type=int, default=_USUAL.agents, metavar="N", help="[%(default)s]")
    parser.add_argument("--in-flight", type=int, default=_USUAL.in_flight, metavar="N", help="[%(default)s]")
    parser.add_argument("--seconds", type=float, default=_USUAL.seconds, metavar="S", help="virtual ones [%(default)g]")
    parser.add_argument("--latency", type=float, default=_USUAL.latency, metavar="S", help="of an answer [%(default)g]")
    parser.add_argument("--loopback", type=float, metavar="S", help="then the same load on loopback, for so long")
    parser.add_argument("--bare", action="store_true", help="also with aiohttp alone at both ends")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    given = parser.parse_args(arguments)
    for name in ("agents", "in_flight", "seconds", "latency"):
        if not getattr(given, name) > 0:
            parser.error(f"--{name.replace('_', '-')}: expected more than 0, got {getattr(given, name)}")
    return _play_all(given)


def _play_all(given: argparse.Namespace) -> int:
    load = replace(_USUAL, agents=given.agents, in_flight=given.in_flight, seconds=given.seconds, latency=given.latency)
    worlds = {"simulated": load}
    if given.loopback is not None:
        worlds["loopback"] = replace(load, seconds=given.loopback)
    figures: dict[str, dict[str, float]] = {}
    print(f"{load.agents:,} agents, {load.in_flight:,} in flight, answers after {load.latency:g} s", _HEADING, sep="\n")
    for world, each in worlds.items():
        for contestant in ("pool", "bare") if given.bare else ("pool",):
            try:
                taken = play(contestant, world, each)
            except subprocess.CalledProcessError as error:
                print(f"{contestant}, {world}: {error}", file=sys.stderr)
                return 1
            print(_row(f"{contestant}, {world}", taken), flush=True)
            figures[f"{contestant}, {world}"] = asdict(taken)
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return 0


def _row(name: str, taken: Taken) -> str:
    time = f"{taken.seconds:9.0f}{taken.wall:8.1f}{taken.per_second:12,.0f}{taken.speed:11.1f}"
    return f"{name:20}{taken.requests:10,}{taken.failed:7,}{time}{taken.cpu_each:8.0f}{taken.memory / 1e6:7.0f}"
