from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from fleetsim.cluster.gather import Gathering, MissingRanksError, in_spans
from fleetsim.cluster.registry import Registration
from fleetsim.errors import FleetError


class Folder:
    """A folder in which ranks register in time that only sleeping makes pass."""

    def __init__(self, arrivals: dict[float, Iterable[Registration]]) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self._arrivals = arrivals

    def look(self) -> dict[int, Registration]:
        there = [each for at, group in self._arrivals.items() if at <= self.now - 100 for each in group]
        return {each.rank: each for each in sorted(there, key=lambda each: each.rank)}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def gathering(self, expect: int | None = None, job: str | None = None) -> Gathering:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731 - read late
        return Gathering(self.look, clock, self.sleep, self.lines.append, expect, job)


def rank(number: int, ranks: int | None = None, job: str | None = None, port: int | None = None) -> Registration:
    return Registration(number, ranks, job, "node", 1, (f"node\t{8000 + number if port is None else port}\n",))


def test_all_are_returned_in_the_order_of_their_ranks_as_soon_as_all_are_there() -> None:
    folder = Folder({0: [rank(2), rank(0)], 3: [rank(1)], 5: [rank(3)]})
    assert [each.rank for each in folder.gathering(expect=4).run(600)] == [0, 1, 2, 3]
    assert folder.now == 105
    assert folder.lines == [
        "2 of 4 ranks are there; missing 1, 3",
        "3 of 4 ranks are there; missing 3",
    ]


def test_ranks_say_how_many_they_are() -> None:
    folder = Folder({1: [rank(1, ranks=2)], 2: [rank(0, ranks=2)]})
    assert [each.rank for each in folder.gathering().run(600)] == [0, 1]
    assert folder.lines == ["0 of ? ranks are there", "1 of 2 ranks are there; missing 0"]


def test_ranks_that_do_not_say_it_must_be_counted_by_the_caller() -> None:
    with pytest.raises(FleetError, match="--expect: expected a number, for the ranks do not say how many they are"):
        Folder({0: [rank(0)]}).gathering().run(600)


def test_what_is_missing_when_time_is_up_is_named() -> None:
    folder = Folder({0: [rank(0), rank(4)]})
    with pytest.raises(MissingRanksError, match="after 1m 2 of 6 ranks are there; missing 1 to 3, 5") as caught:
        folder.gathering(expect=6).run(60)
    assert caught.value.missing == (1, 2, 3, 5)
    assert folder.now == 160
    with pytest.raises(MissingRanksError, match="after 0s no rank is there"):
        Folder({}).gathering().run(0)


def test_files_of_another_job_and_ranks_beyond_count_for_nothing() -> None:
    folder = Folder({0: [rank(0, job="old"), rank(1, job="new"), rank(7, job="new")], 2: [rank(0, job="new")]})
    assert [each.job for each in folder.gathering(expect=2, job="new").run(10)] == ["new", "new"]
    assert folder.now == 102


def test_an_address_that_two_ranks_claim_is_refused() -> None:
    folder = Folder({0: [rank(0, port=8000), rank(1, port=8000)]})
    with pytest.raises(FleetError, match="ranks 0 to 1 both say that they are at node 8000: expected a name that"):
        folder.gathering(expect=2).run(0)


def test_numbers_are_said_in_spans() -> None:
    assert in_spans([3, 17, 20, 21, 22]) == "3, 17, 20 to 22"
    assert in_spans([]) == ""
    assert in_spans(range(0, 40, 2)) == "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, and 8 more"
