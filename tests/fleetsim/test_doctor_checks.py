from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetsim.doctor.checks import Finding, Verdict, Wanted, examine
from fleetsim.doctor.machine import Machine
from fleetsim.doctor.requirements import Requirement

HEALTHY = Machine(
    soft_files=1_024,
    hard_files=20_000,
    ports=(32_768, 60_999),
    somaxconn=4_096,
    cores=4.0,
    memory=8_000_000_000,
    python="3.12.1",
    packages={
        Requirement("aiohttp", ">=3.12.15,!=3.14.0"): "3.14.5",
        Requirement("click", ">=8.1.8", "fleet"): "8.3.0",
        Requirement("locust", ">=2.40", "loadtest"): "2.47.0",
    },
    proxies=(),
)
WANTED = Wanted(servers=4_000, processes=2, connections=4_000)


def found(name: str, wanted: Wanted = WANTED, **changes: Any) -> Finding:
    (finding,) = [each for each in examine(replace(HEALTHY, **changes), wanted) if each.name == name]
    return finding


def test_a_machine_that_has_enough_is_well() -> None:
    findings = examine(HEALTHY, WANTED)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert [finding.name for finding in findings] == [
        *("open files", "ports to choose", "somaxconn", "cores", "memory", "Python", "aiohttp"),
        *("extra fleet", "extra loadtest", "proxies"),
    ]


def test_open_files_are_counted_for_the_fullest_process() -> None:
    one = found("open files", Wanted(4_001, 2, 10))
    assert one == Finding(
        "open files", Verdict.OK, "soft 1,024, hard 20,000", "2,518 in each of 2", "the fleet raises its own soft limit"
    )
    assert found("open files", soft_files=None, hard_files=None).found == "soft unlimited, hard unlimited"


@pytest.mark.parametrize(
    ("name", "changes", "verdict", "advice"),
    [
        ("open files", {"hard_files": 4_511}, Verdict.FAIL, "raise the hard limit (`ulimit -Hn 4512` as root, LimitN"),
        ("open files", {"hard_files": 4_512}, Verdict.OK, "the fleet raises its own soft limit"),
        ("ports to choose", {"ports": (1, 3_999)}, Verdict.FAIL, "widen it (`sysctl -w net.ipv4.ip_local_port_range="),
        ("ports to choose", {"ports": (1, 4_000)}, Verdict.OK, ""),
        ("ports to choose", {"ports": None}, Verdict.NOTE, ""),
        ("somaxconn", {"somaxconn": 128}, Verdict.NOTE, "a burst of connects to one server waits a second or more"),
        ("somaxconn", {"somaxconn": None}, Verdict.NOTE, ""),
        ("cores", {"cores": 2.5}, Verdict.NOTE, "they share, so timings are coarser"),
        ("memory", {"memory": 200_000_000}, Verdict.FAIL, "fewer servers, connections or --processes need less"),
        ("memory", {"memory": None}, Verdict.NOTE, ""),
        ("Python", {"python": "3.10.14"}, Verdict.FAIL, ""),
        ("proxies", {"proxies": ("HTTP_PROXY",)}, Verdict.NOTE, "swarmpool looks at none; for curl, httpx and openai"),
    ],
)
def test_what_is_short_is_said_with_what_to_do(
    name: str, changes: dict[str, Any], verdict: Verdict, advice: str
) -> None:
    finding = found(name, **changes)
    assert finding.verdict is verdict
    assert finding.advice.startswith(advice)
    assert bool(finding.advice) is bool(advice)


@pytest.mark.parametrize(
    ("requirement", "version", "verdict", "advice"),
    [
        (Requirement("aiohttp", "!=3.14.0,>=3"), "3.14.0", Verdict.FAIL, "pip install 'aiohttp!=3.14.0,>=3'"),
        (Requirement("aiohttp", ">=3"), None, Verdict.FAIL, "pip install 'aiohttp>=3'"),
        (
            Requirement("rich", ">=14", "fleet"),
            "13.9",
            Verdict.FAIL,
            "pip install 'swarmpool[fleet]' where you want it",
        ),
        (Requirement("uvloop", ">=1", "fast"), None, Verdict.NOTE, "pip install 'swarmpool[fast]' where you want it"),
    ],
)
def test_packages_that_do_not_fit_are_named(
    requirement: Requirement, version: str | None, verdict: Verdict, advice: str
) -> None:
    name = f"extra {requirement.extra}" if requirement.extra else requirement.name
    finding = found(name, packages={requirement: version})
    assert (finding.verdict, finding.advice) == (verdict, advice)
    assert (version or "missing") in finding.found
