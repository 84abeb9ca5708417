from __future__ import annotations

import resource

import pytest

from fleetsim.errors import FleetError
from fleetsim.open_files import check_open_files, raise_open_files

Limits = tuple[int, int]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """What the process's limits were set to, begun with a soft 1024 of 20,000; the real ones are not touched."""
    history: list[Limits] = [(1024, 20_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: history[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: history.append(new))
    return history


def test_what_fits_changes_nothing(limits: list[Limits]) -> None:
    raise_open_files(512)
    assert limits == [(1024, 20_000)]


def test_what_does_not_fit_raises_the_soft_limit_to_the_hard_one(limits: list[Limits]) -> None:
    raise_open_files(513)
    raise_open_files(100_000)
    assert limits == [(1024, 20_000), (20_000, 20_000)]


def test_no_limit_is_left_alone(limits: list[Limits]) -> None:
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    raise_open_files(10**9)
    assert len(limits) == 2


def test_ports_over_the_hard_limit_are_refused_with_what_to_do(limits: list[Limits]) -> None:
    check_open_files(19_968)
    with pytest.raises(FleetError) as caught:
        check_open_files(19_969)
    assert str(caught.value) == (
        "19,969 servers in one process need more than 19,969 open files, and the hard limit is 20,000: "
        "raise it (`ulimit -Hn 20481` as root, or LimitNOFILE= of a systemd unit), or spread them over "
        "processes of at most 19,488 each with --processes"
    )


def test_without_a_limit_all_ports_fit(limits: list[Limits]) -> None:
    limits.append((1024, resource.RLIM_INFINITY))
    check_open_files(10**9)
