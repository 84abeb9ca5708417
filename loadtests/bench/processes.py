"""What processes of this machine use, as Linux tells it in /proc: https://man7.org/linux/man-pages/man5/proc.5.html"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Meter", "Shares", "descendants", "descriptors", "resident_bytes"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PARENT, _USER, _SYSTEM = 1, 11, 12  # among the fields of `stat` that come after the name


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` has started, those that these have started, and so on, in order of their ids."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int(_stat(int(entry.name))[_PARENT]), []).append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    found, unseen = [], [pid]
    while unseen:
        born = children.get(unseen.pop(), [])
        found += born
        unseen += born
    return sorted(found)


def resident_bytes(pid: int) -> int:
    """Return what of a process is in memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open; one more for this process, by which the folder is read."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _stat(pid: int) -> list[str]:
    # The name is in parentheses, and may hold whatever it likes.
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def _machine_seconds() -> float:
    """CPU seconds of everybody since the start, hypervisor included: all but idle and waiting for disks."""
    user, nice, system, _, _, irq, softirq, steal, *_ = Path("/proc/stat").read_text("ascii").split()[1:11]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS


@dataclass(frozen=True, slots=True)
class Shares:
    """What was used while `seconds` passed: CPU seconds of the client, of each server process, and of all others."""

    seconds: float
    client: float
    servers: tuple[float, ...]
    others: float
    cores: int

    @property
    def limit(self) -> str:
        """What a higher rate would have needed more of, in words."""
        client, servers, others = (each / self.seconds for each in (self.client, sum(self.servers), self.others))
        if client >= _ALL:
            return "the client: one loop uses one core, and it used all of it"
        if max(self.servers) / self.seconds >= _ALL:
            return "the fleet: one of its processes used all of a core"
        if client + servers + others >= _ALL * self.cores:
            return f"the machine: all of its {self.cores} cores were busy, {others:.2f} of them with other work"
        return "neither: both ends waited"


_ALL = 0.9


class Meter:
    """Counts CPU from its construction on: of the process `client`, of `servers`, and of the whole machine."""

    def __init__(self, client: int, servers: Sequence[int]) -> None:
        self._client, self._servers = client, servers
        self._before = self._read()

    def _read(self) -> list[float]:
        each = [_cpu_seconds(pid) for pid in (self._client, *self._servers)]
        return [time.perf_counter(), _machine_seconds(), *each]

    def shares(self) -> Shares:
        """Return what has been used until now. Raises FileNotFoundError when one of the processes is gone."""
        used = [now - then for now, then in zip(self._read(), self._before, strict=True)]
        seconds, machine, client, *servers = used
        others = max(0.0, machine - client - sum(servers))
        return Shares(seconds, client, tuple(servers), others, len(os.sched_getaffinity(0)))
