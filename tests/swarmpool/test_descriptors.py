from __future__ import annotations

import logging
import os

import pytest

from swarmpool import descriptors
from swarmpool.descriptors import ensure_descriptors

INFINITY = -1


class FakeResource:
    """The standard module as far as it is used here, with limits of its own."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = INFINITY

    def __init__(self, soft: int, hard: int, forbids: bool = False) -> None:
        self.limits = (soft, hard)
        self.forbids = forbids

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if self.forbids:
            raise OSError("not here")
        if limits[1] != self.limits[1]:
            raise ValueError("the hard limit must stay")
        self.limits = limits


def install(monkeypatch: pytest.MonkeyPatch, resource: FakeResource | None) -> None:
    monkeypatch.setattr(descriptors, "resource", resource)
    monkeypatch.setattr(os, "listdir", lambda path: ["0", "1", "2"])


@pytest.mark.parametrize("soft", [1_000, INFINITY])
def test_a_limit_that_is_high_enough_is_left_alone(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = FakeResource(soft, 4_000)
    install(monkeypatch, resource)
    assert ensure_descriptors(900)
    assert resource.limits == (soft, 4_000)


@pytest.mark.parametrize("hard", [4_000, INFINITY])
def test_the_soft_limit_is_raised_by_what_is_needed_and_open_already(
    hard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = FakeResource(1_000, hard)
    install(monkeypatch, resource)
    assert ensure_descriptors(2_000)
    assert resource.limits == (2_067, hard)  # 2,000 sockets, 3 open files, 64 to spare


def test_a_hard_limit_in_the_way_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resource = FakeResource(256, 1_024)
    install(monkeypatch, resource)
    with caplog.at_level(logging.WARNING, "swarmpool"):
        assert not ensure_descriptors(5_000)
    assert resource.limits == (1_024, 1_024)  # as far as it goes
    [record] = caplog.records
    assert record.getMessage() == (
        "connector_limit=5000 needs about 5067 open files and this process may have 1024: "
        "raise the limit (`ulimit -n 5067`) or lower connector_limit"
    )


def test_a_system_that_forbids_it_is_told_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, FakeResource(256, 4_000, forbids=True))
    with caplog.at_level(logging.WARNING, "swarmpool"):
        assert not ensure_descriptors(1_000)
    assert "may have 256" in caplog.text


def test_a_system_without_such_a_limit_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    assert ensure_descriptors(10**9)


def test_where_open_files_cannot_be_counted_some_are_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = FakeResource(100, 4_000)
    install(monkeypatch, resource)

    def refuse(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert ensure_descriptors(100)
    assert resource.limits == (228, 4_000)


def test_on_this_system_room_for_one_more_is_found() -> None:
    assert ensure_descriptors(1)
