"""`python -m swarmpool wait`: until the agents of a hostfile are ready, for jobs whose servers start hours later.

The hostfile may not be there yet, or be written while it is read: it is read again until it names as many agents as are
wanted, or any where all are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial

from swarmpool.ask_command import ProgressBar
from swarmpool.dialects import ITEM_DIALECTS, LINE_DIALECTS
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import HostfileError
from swarmpool.hostfile import parse_hostfile, write_hostfile
from swarmpool.options import count_or_none, seconds
from swarmpool.pool import AgentPool
from swarmpool.readiness import Readiness

__all__ = ["add_wait"]

_LOOKS_EVERY = 0.5  # seconds, for a hostfile to appear
_NAMED = 10  # missing agents that are named


def add_wait(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    about = "Wait until agents are ready (GET /health says 200), and write a hostfile of those that are."
    wait = add_parser("wait", help=about, description=about, allow_abbrev=False)
    wait.add_argument("--hostfile", metavar="FILE", required=True, help="names the agents; it may appear later")
    wait.add_argument(
        "--dialect", choices=[*LINE_DIALECTS, *ITEM_DIALECTS], help="of the hostfile, if it is to be no other"
    )
    wait.add_argument("--output", metavar="FILE", help="where the ready agents are written, once there are enough")
    wait.add_argument("--timeout", type=float, metavar="SECONDS", default=600.0, help="in all (default 600)")
    wait.add_argument("--minimum", type=int, metavar="N", help="so many are enough (default: all)")
    wait.add_argument("--interval", type=float, metavar="SECONDS", default=0.5, help="between rounds (default 0.5)")
    wait.set_defaults(prepare=_prepare)


def _prepare(options: argparse.Namespace) -> Callable[[], int]:
    """What is to be run, all of it checked. Raises ValueError."""
    seconds("--timeout", options.timeout)
    seconds("--interval", options.interval)
    count_or_none("--minimum", options.minimum)
    if options.output is not None and not os.path.isdir(os.path.dirname(options.output) or "."):
        raise ValueError(f"--output: there is no folder {os.path.dirname(options.output)!r}")
    return partial(_run, options)


def _run(options: argparse.Namespace) -> int:
    found = asyncio.run(_wait(options))
    total = len(found.ready) + len(found.missing)
    wanted = total if options.minimum is None else options.minimum
    enough = len(found.ready) >= wanted
    if enough and options.output is not None:
        write_hostfile(options.output, found.ready)
    sys.stdout.write(f"{len(found.ready)} of {total} agents ready after {found.seconds:.1f} s\n")
    for endpoint, reason in found.missing[:_NAMED]:
        sys.stderr.write(f"missing: {endpoint.url}: {reason}\n")
    if len(found.missing) > _NAMED:
        sys.stderr.write(f"missing: and {len(found.missing) - _NAMED} more\n")
    return 0 if enough else 1


async def _wait(options: argparse.Namespace) -> Readiness:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    endpoints = await _endpoints(options, begun + options.timeout)
    left = max(_LOOKS_EVERY, begun + options.timeout - loop.time())
    bar = ProgressBar(sys.stderr, shown=sys.stderr.isatty())
    async with AgentPool(endpoints) as pool:
        try:
            found = await pool.wait_ready(left, minimum=options.minimum, interval=options.interval, progress=bar)
        finally:
            bar.end()
    return Readiness(found.ready, found.missing, loop.time() - begun)


async def _endpoints(options: argparse.Namespace, deadline: float) -> list[AgentEndpoint]:
    """What the hostfile names, as soon as it names enough. Raises HostfileError if it does not until the deadline."""
    while True:
        try:
            return _enough(options, parse_hostfile(options.hostfile, options.dialect))
        except HostfileError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(_LOOKS_EVERY)  # no event tells of a file on a shared file system


def _enough(options: argparse.Namespace, endpoints: list[AgentEndpoint]) -> list[AgentEndpoint]:
    if options.minimum is not None and options.minimum > len(endpoints):
        raise HostfileError(f"{options.hostfile} names {len(endpoints)} agents, fewer than --minimum {options.minimum}")
    return endpoints
