"""`python -m loadtests.bench [NAME ...] [--json FILE]`: run the benchmarks and print what came out.

`scale`, `soak`, `simulated-scale`, `peers` and `page` are commands of their own, with options of their own:
`python -m loadtests.bench scale --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp

from loadtests.bench.connection_pool_cost import connection_pool_cost
from loadtests.bench.fleet_cost import fleet_cost, rules_cost
from loadtests.bench.limiter_cost import limiter_cost
from loadtests.bench.measure import Figure
from loadtests.bench.peers.command import page_command, peers_command
from loadtests.bench.pool_overhead import pool_overhead
from loadtests.bench.scale_command import scale, soak
from loadtests.bench.simulated import simulated_cost
from loadtests.bench.simulated_scale import simulated_scale
from loadtests.bench.start_up import start_up
from loadtests.bench.stream_overhead import stream_overhead

_BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "pool": lambda: asyncio.run(pool_overhead()),
    "stream": lambda: asyncio.run(stream_overhead()),
    "limiter": limiter_cost,
    "start": start_up,
    "connections": lambda: asyncio.run(connection_pool_cost()),
    "fleet": lambda: asyncio.run(fleet_cost()),
    "rules": lambda: asyncio.run(rules_cost()),
    "simulated": simulated_cost,
}

_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "scale": scale,
    "soak": soak,
    "simulated-scale": simulated_scale,
    "peers": peers_command,
    "page": page_command,
}


def main() -> None:
    """Run what was asked for; nothing here fails: figures are for people to judge."""
    if sys.argv[1:2] and sys.argv[1] in _COMMANDS:
        sys.exit(_COMMANDS[sys.argv[1]](sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(_BENCHMARKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(_BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
    print(f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {platform.machine()}")
    figures: list[Figure] = []
    for name in arguments.names or _BENCHMARKS:
        for figure in _BENCHMARKS[name]():
            figures.append(figure)
            mark = "met " if figure.met else "MISSED"
            print(f"{mark:7}{figure.name}: {figure.value:.3f} {figure.unit} (goal {figure.goal}; {figure.detail})")
    if arguments.json:
        arguments.json.write_text(json.dumps([figure.as_dict() for figure in figures], indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
