"""Room for many sockets: the soft limit on open files, raised as vLLM's own `set_ulimit` does at start."""

from __future__ import annotations

import resource

from fleetsim.errors import FleetError

__all__ = ["SPARE", "check_open_files", "raise_open_files"]

# For all else a process has open, connections to the servers among it.
SPARE = 512

# What a fleet without a single connection has open beside its ports: standard streams, the loop's, files of modules.
_LEAST = 32


def check_open_files(servers: int) -> None:
    """Raise FleetError, saying what to do, when the ports of so many servers in one process are over the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or servers + _LEAST <= hard:
        return
    room = max(1, hard - SPARE) if hard > SPARE else max(1, hard - _LEAST)
    raise FleetError(
        f"{servers:,} servers in one process need more than {servers:,} open files, and the hard limit is {hard:,}: "
        f"raise it (`ulimit -Hn {servers + SPARE}` as root, or LimitNOFILE= of a systemd unit), or spread them over "
        f"processes of at most {room:,} each with --processes"
    )


def raise_open_files(sockets: int) -> None:
    """Raise this process's soft limit on open files to the hard one if `sockets` and some more would not fit.

    Never lowers it. What does not fit under the hard limit either shows when a port cannot be bound.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < sockets + SPARE and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
