"""Room for many sockets: the soft limit on open files, raised as vLLM's own `set_ulimit` does at start."""

from __future__ import annotations

import resource

__all__ = ["raise_open_files"]

# For all else a process has open, connections to the servers among it.
_SPARE = 512


def raise_open_files(sockets: int) -> None:
    """Raise this process's soft limit on open files to the hard one if `sockets` and some more would not fit.

    Never lowers it. What does not fit under the hard limit either shows when a port cannot be bound.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < sockets + _SPARE and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
