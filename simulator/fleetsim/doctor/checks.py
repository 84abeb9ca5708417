"""What a fleet needs, held against what there is. Decisions only."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleetsim.doctor.machine import Machine
from fleetsim.doctor.requirements import Requirement, fits
from fleetsim.open_files import SPARE
from fleetsim.server import BACKLOG

__all__ = ["Finding", "Verdict", "Wanted", "examine"]

_OLDEST_PYTHON = (3, 11)

# Resident memory with Python 3.11 and aiohttp 3.14, rounded up: of an idle process, its full journal, a server, and a
# connection with a request on it.
_PER_PROCESS = 50_000_000
_PER_JOURNAL = 25_000_000
_PER_SERVER = 10_000
_PER_CONNECTION = 12_000


class Verdict(enum.Enum):
    """`FAIL` is for what would stop the fleet or most of its clients; `NOTE` for what will be felt."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The fleet asked about: its servers, its processes, the connections open to it at once."""

    servers: int
    processes: int
    connections: int

    @property
    def files(self) -> int:
        """Open files of its fullest process."""
        return -(-self.servers // self.processes) + -(-self.connections // self.processes) + SPARE

    @property
    def memory(self) -> int:
        """Bytes, over all its processes."""
        whole = self.processes * (_PER_PROCESS + _PER_JOURNAL)
        return whole + self.servers * _PER_SERVER + self.connections * _PER_CONNECTION


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what is there, what is needed, and what to do where that is more."""

    name: str
    verdict: Verdict
    found: str
    needed: str
    advice: str = ""


def examine(machine: Machine, wanted: Wanted) -> list[Finding]:
    """Return a finding for everything a fleet depends on, in the order one would look."""
    return [
        _open_files(machine, wanted),
        _ports(machine, wanted),
        _backlog(machine),
        _cores(machine, wanted),
        _memory(machine, wanted),
        _python(machine),
        *_packages(machine.packages),
        _proxies(machine),
    ]


def _open_files(machine: Machine, wanted: Wanted) -> Finding:
    soft, hard = machine.soft_files, machine.hard_files
    found = f"soft {_limit(soft)}, hard {_limit(hard)}"
    needed = f"{wanted.files:,} in each of {wanted.processes:,}" if wanted.processes > 1 else f"{wanted.files:,}"
    if hard is not None and hard < wanted.files:
        advice = (
            f"raise the hard limit (`ulimit -Hn {wanted.files}` as root, LimitNOFILE= of a systemd unit, `nofile` in "
            f"/etc/security/limits.conf), or spread the servers with --processes"
        )
        return Finding("open files", Verdict.FAIL, found, needed, advice)
    raised = "the fleet raises its own soft limit" if soft is not None and soft < wanted.files else ""
    return Finding("open files", Verdict.OK, found, needed, raised)


def _ports(machine: Machine, wanted: Wanted) -> Finding:
    needed = f"{wanted.servers:,}, unless --base-port says where"
    if machine.ports is None:
        return Finding("ports to choose", Verdict.NOTE, "not known on this system", needed)
    first, last = machine.ports
    found = f"{last - first + 1:,} ({first} to {last})"
    if last - first + 1 < wanted.servers:
        advice = "widen it (`sysctl -w net.ipv4.ip_local_port_range='10000 65535'`), or give --base-port"
        return Finding("ports to choose", Verdict.FAIL, found, needed, advice)
    return Finding("ports to choose", Verdict.OK, found, needed)


def _backlog(machine: Machine) -> Finding:
    needed = f"{BACKLOG:,}, as vLLM asks for"
    if machine.somaxconn is None:
        return Finding("somaxconn", Verdict.NOTE, "not known on this system", needed)
    if machine.somaxconn < BACKLOG:
        advice = f"a burst of connects to one server waits a second or more (`sysctl -w net.core.somaxconn={BACKLOG}`)"
        return Finding("somaxconn", Verdict.NOTE, f"{machine.somaxconn:,}", needed, advice)
    return Finding("somaxconn", Verdict.OK, f"{machine.somaxconn:,}", needed)


def _cores(machine: Machine, wanted: Wanted) -> Finding:
    needed = f"{wanted.processes + 1:,}: one for each process, and one for the client"
    if machine.cores < wanted.processes + 1:
        return Finding("cores", Verdict.NOTE, f"{machine.cores:g}", needed, "they share, so timings are coarser")
    return Finding("cores", Verdict.OK, f"{machine.cores:g}", needed)


def _memory(machine: Machine, wanted: Wanted) -> Finding:
    needed = f"about {_megabytes(wanted.memory)}"
    if machine.memory is None:
        return Finding("memory", Verdict.NOTE, "not known on this system", needed)
    found = f"{_megabytes(machine.memory)} free"
    if machine.memory < wanted.memory:
        return Finding("memory", Verdict.FAIL, found, needed, "fewer servers, connections or --processes need less")
    return Finding("memory", Verdict.OK, found, needed)


def _python(machine: Machine) -> Finding:
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    verdict = Verdict.OK if fits(machine.python, f">={oldest}") else Verdict.FAIL
    return Finding("Python", verdict, machine.python, f"{oldest} or newer")


def _packages(packages: Mapping[Requirement, str | None]) -> Iterable[Finding]:
    for requirement, version in packages.items():
        if requirement.extra is None:
            yield _package(requirement, version)
    for extra in sorted({each.extra for each in packages if each.extra is not None}):
        yield _extra(extra, {each: version for each, version in packages.items() if each.extra == extra})


def _package(requirement: Requirement, version: str | None) -> Finding:
    name, needed = requirement.name, requirement.spec or "any"
    if version is None or not fits(version, requirement.spec):
        return Finding(name, Verdict.FAIL, version or "missing", needed, f"pip install '{name}{requirement.spec}'")
    return Finding(name, Verdict.OK, version, needed)


def _extra(extra: str, packages: Mapping[Requirement, str | None]) -> Finding:
    found = ", ".join(f"{each.name} {version or 'missing'}" for each, version in packages.items())
    needed = ", ".join(f"{each.name}{each.spec}" for each in packages)
    if all(version is not None and fits(version, each.spec) for each, version in packages.items()):
        return Finding(f"extra {extra}", Verdict.OK, found, needed)
    verdict = Verdict.FAIL if extra == "fleet" else Verdict.NOTE
    return Finding(f"extra {extra}", verdict, found, needed, f"pip install 'swarmpool[{extra}]' where you want it")


def _proxies(machine: Machine) -> Finding:
    needed = "none on the way to the fleet"
    if machine.proxies:
        advice = "swarmpool looks at none; for curl, httpx and openai name the fleet's hosts in no_proxy"
        return Finding("proxies", Verdict.NOTE, ", ".join(machine.proxies), needed, advice)
    return Finding("proxies", Verdict.OK, "none", needed)


def _limit(number: int | None) -> str:
    return "unlimited" if number is None else f"{number:,}"


def _megabytes(number: int) -> str:
    return f"{number / 1_000_000:,.0f} MB"
