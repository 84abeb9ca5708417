from __future__ import annotations

import math

import pytest
from pool_options import options

from swarmpool.connection_pool.expiry import Expiry
from swarmpool.connection_pool.states import ConnectionState, Entry


def idle_entry(number: int = 1, *, at: float = 0.0, lifetime: float = 1.0) -> Entry[object]:
    entry: Entry[object] = Entry(number, generation=0, started_at=at, lifetime=lifetime)
    entry.move(ConnectionState.IDLE)
    return entry


@pytest.mark.parametrize(
    ("limits", "deadline"),
    [
        ({}, math.inf),
        ({"max_age": 100.0}, 10 + 90.0),
        ({"max_session_duration": 100.0}, 20 + 90.0),
        ({"max_idle": 100.0}, 30 + 100.0),
        ({"max_age": 100.0, "max_session_duration": 50.0, "max_idle": 100.0}, 20 + 45.0),
    ],
)
def test_the_deadline_is_the_first_of_the_limits(limits: dict[str, float], deadline: float) -> None:
    entry = idle_entry(lifetime=0.9)
    entry.opened_at, entry.session_since, entry.idle_since = 10.0, 20.0, 30.0
    assert Expiry[object](options(**limits)).deadline_of(entry) == deadline


def test_without_limits_nothing_is_watched() -> None:
    expiry: Expiry[object] = Expiry(options())
    expiry.watch(idle_entry(), 1)
    assert (expiry.due, expiry.mortal) == (math.inf, False)


def test_a_deadline_that_has_moved_back_is_asked_again_and_one_in_use_is_dropped() -> None:
    expiry: Expiry[object] = Expiry(options(max_idle=10.0))
    moved, used, due = idle_entry(1), idle_entry(2), idle_entry(3)
    for entry in (moved, used, due):
        expiry.watch(entry, 3)
    moved.idle_since = 5.0
    used.move(ConnectionState.LEASED)
    assert list(expiry.expired(10.0)) == [due]
    assert (expiry.due, moved.scheduled, used.scheduled) == (15.0, True, False)


def test_the_dead_are_forgotten_before_they_pile_up() -> None:
    expiry: Expiry[object] = Expiry(options(max_age=3600.0))
    for number in range(10_000):
        entry = idle_entry(number)
        expiry.watch(entry, 1)
        entry.move(ConnectionState.CLOSING)
    assert len(expiry._heap) < 100
