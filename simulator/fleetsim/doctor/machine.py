"""What is found on this machine. None is what it does not tell, or does not limit."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetsim.doctor.requirements import Requirement, installed, requirements

__all__ = ["Machine", "this_machine"]

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Machine:
    """Limits are of this process, as its children inherit them; `memory` is what is free, in bytes."""

    soft_files: int | None
    hard_files: int | None
    ports: tuple[int, int] | None
    somaxconn: int | None
    cores: float
    memory: int | None
    python: str
    packages: Mapping[Requirement, str | None]
    proxies: tuple[str, ...]


def this_machine() -> Machine:
    """Look, and return what there is. Reads a few small files; on other systems than Linux some are not there."""
    soft, hard = (None if limit == resource.RLIM_INFINITY else limit for limit in _open_files())
    return Machine(
        soft_files=soft,
        hard_files=hard,
        ports=read_ports(_text("/proc/sys/net/ipv4/ip_local_port_range")),
        somaxconn=read_number(_text("/proc/sys/net/core/somaxconn")),
        cores=_cores(),
        memory=_memory(),
        python=platform.python_version(),
        packages={each: installed(each.name) for each in requirements()},
        proxies=tuple(name for name in os.environ if name.lower() in _PROXIES and os.environ[name]),
    )


def _open_files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def read_number(text: str) -> int | None:
    """Return the number that `text` is; None for anything else, such as the `max` of a cgroup."""
    return int(text) if text.strip().isdecimal() else None


def read_ports(text: str) -> tuple[int, int] | None:
    """Return the first and the last port of `ip_local_port_range`."""
    numbers = text.split()
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdecimal, numbers)) else None


def _cores() -> float:
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_quota(_text("/sys/fs/cgroup/cpu.max"))
    return float(mine) if quota is None else min(float(mine), quota)


def read_quota(text: str) -> float | None:
    """Return how many cores `cpu.max` of a cgroup allows: `150000 100000` is 1.5."""
    used, _, period = text.strip().partition(" ")
    return int(used) / int(period) if used.isdecimal() and period.isdecimal() else None


def _memory() -> int | None:
    free = read_available(_text("/proc/meminfo"))
    most = read_number(_text("/sys/fs/cgroup/memory.max"))
    used = read_number(_text("/sys/fs/cgroup/memory.current"))
    if most is None or used is None:
        return free
    return most - used if free is None else min(free, most - used)


def read_available(text: str) -> int | None:
    """Return `MemAvailable` of `/proc/meminfo`, in bytes."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None
