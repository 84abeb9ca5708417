"""Room for sockets: the soft limit on open files is raised when a tree opens, as far as the system allows."""

from __future__ import annotations

import logging
import os

try:
    import resource
except ImportError:  # no such thing on Windows, which has no such limit either
    resource = None  # type: ignore[assignment]

__all__ = ["ensure_descriptors"]

_SPARE = 64  # files that the program itself may need beside its sockets

logger = logging.getLogger("swarmpool")


def ensure_descriptors(sockets: int) -> bool:
    """Make room for `sockets` more open files; log one sentence that says what to do, and return False, if it fails."""
    if resource is None:
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sockets + _open_now() + _SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # a sandbox may forbid it; the sentence below says what is left to do
    if soft >= needed:
        return True
    logger.warning(
        "connector_limit=%d needs about %d open files and this process may have %d: "
        "raise the limit (`ulimit -n %d`) or lower connector_limit",
        sockets,
        needed,
        soft,
        needed,
    )
    return False


def _open_now() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return _SPARE
