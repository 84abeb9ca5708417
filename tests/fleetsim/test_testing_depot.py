from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleetsim import ServerState
from fleetsim.testing.depot import Depot


@pytest.fixture
def depot() -> Iterator[Depot]:
    depot = Depot()
    yield depot
    depot.close()


def test_a_fleet_given_back_is_lent_again_for_the_same_settings_only(depot: Depot) -> None:
    first = depot.take({"size": 1})
    depot.give_back({"size": 1}, first)
    other = depot.take({"size": 1, "ttft": "1ms"})
    assert depot.take({"size": 1}) is first is not other
    depot.give_back({"size": 1}, first)
    depot.give_back({"size": 1, "ttft": "1ms"}, other)


def test_a_fleet_on_loan_is_not_lent_twice(depot: Depot) -> None:
    first, second = depot.take({"size": 1}), depot.take({"size": 1})
    assert first is not second
    for fleet in (first, second):
        depot.give_back({"size": 1}, fleet)


def test_a_fleet_that_cannot_be_renewed_is_closed(depot: Depot) -> None:
    fleet = depot.take({"size": 2})
    fleet.run(fleet[1].drain())
    depot.give_back({"size": 2}, fleet)
    assert fleet[0].state is ServerState.DEAD
    replacement = depot.take({"size": 2})
    assert replacement[1].state is ServerState.SERVING
    depot.give_back({"size": 2}, replacement)


def test_of_many_the_longest_unused_is_closed(depot: Depot) -> None:
    fleets = []
    for seed in range(5):
        fleets.append(depot.take({"size": 1, "seed": seed}))
        depot.give_back({"size": 1, "seed": seed}, fleets[-1])
    assert [fleet[0].state.value for fleet in fleets] == ["dead", *["serving"] * 4]


def test_closing_the_depot_closes_what_it_has() -> None:
    depot = Depot()
    fleet = depot.take({"size": 1})
    depot.give_back({"size": 1}, fleet)
    depot.close()
    assert fleet[0].state is ServerState.DEAD
