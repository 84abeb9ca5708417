from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pool_options import options

from swarmpool.connection_pool.demand import Demand, Warming


def demand(**given: Any) -> Demand:
    return Demand(options(**given), Random(1))


@pytest.mark.parametrize(
    ("given", "waiting", "open_now", "dialing", "started"),
    [
        ({}, 50, 0, 0, 50),
        ({}, 0, 0, 0, 0),
        ({"max_size": 10}, 50, 7, 0, 3),
        ({"max_size": 10}, 50, 10, 0, 0),
        ({"max_dialing": 2}, 50, 0, 0, 2),
        ({"max_dialing": 2}, 50, 2, 2, 0),
    ],
)
def test_one_dial_for_each_who_waits_as_far_as_there_is_room(
    given: dict[str, int], waiting: int, open_now: int, dialing: int, started: int
) -> None:
    assert demand(**given).to_start(0.0, waiting, open_now, dialing) == started


def test_dials_under_way_cover_those_who_wait_until_a_new_generation() -> None:
    wanted = demand()
    wanted.fresh = 3
    assert [wanted.to_start(0.0, waiting, 3, 3) for waiting in (2, 3, 5)] == [0, 0, 2]
    wanted.begin_again()
    assert wanted.to_start(0.0, 2, 3, 3) == 2


def test_a_caller_and_a_prewarm_want_the_same_dials() -> None:
    wanted = demand()
    wanted.warmings.append(Warming(3, None))
    assert [wanted.uncovered(waiting) for waiting in (0, 2, 5)] == [3, 3, 5]


def test_a_prewarm_is_over_with_its_last_dial() -> None:
    wanted = demand()
    short, long = Warming(1, "short"), Warming(2, "long")
    wanted.warmings += [short, long]
    assert wanted.helped() == [short]
    assert wanted.helped() == [long]
    assert wanted.warmings == []


def test_after_a_failure_one_at_a_time_and_not_before_its_time() -> None:
    wanted = demand(reconnect_delay=8.0)
    wanted.backoff.failed(0.0, 1.0)
    until = wanted.backoff.until
    assert 5.0 <= until <= 9.0
    assert wanted.to_start(until - 0.1, 50, 0, 0) == 0
    assert wanted.due == until
    assert wanted.to_start(until, 50, 0, 0) == 1
    wanted.fresh = 1
    assert wanted.to_start(until, 50, 1, 1) == 0
    wanted.begin_again()
    assert wanted.to_start(0.0, 50, 1, 1) == 50
