from __future__ import annotations

import json
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import GROWTH, Histogram

DURATIONS = st.lists(st.floats(min_value=1e-6, max_value=1e4), min_size=1, max_size=200)


def of(durations: Iterable[float]) -> Histogram:
    made = Histogram()
    for seconds in durations:
        made.record(seconds)
    return made


@given(DURATIONS, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_within_one_percent_of_the_exact_one(durations: list[float], share: float) -> None:
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    found = of(durations).quantile(share)
    assert found is not None
    assert found / exact == pytest.approx(1, rel=(GROWTH - 1) / 2 + 1e-6)


@given(DURATIONS, DURATIONS)
def test_adding_two_is_recording_all(one: list[float], other: list[float]) -> None:
    added = of(one)
    added.add(of(other))
    both = of([*one, *other])
    assert added.written() == both.written() | {"total": pytest.approx(both.total)}


@given(DURATIONS, DURATIONS)
def test_since_an_earlier_one_is_what_came_after_it(earlier: list[float], later: list[float]) -> None:
    difference = of([*earlier, *later]).since(of(earlier))
    assert difference.count == len(later)
    for share in (0.1, 0.5, 0.99):
        found, exact = difference.quantile(share), of(later).quantile(share)
        assert found == pytest.approx(exact, rel=GROWTH - 1)


def test_what_is_written_as_json_is_read_back() -> None:
    chance = random.Random(7)
    histogram = of(chance.expovariate(10) for _ in range(1_000))
    assert Histogram.read(json.loads(json.dumps(histogram.written()))).written() == histogram.written()


def test_count_mean_and_largest_are_exact() -> None:
    histogram = of([0.0, 0.5, 1.0])
    assert (histogram.count, histogram.mean, histogram.largest) == (3, 0.5, 1.0)
    assert histogram.quantile(1.0) == 1.0


def test_an_empty_one_has_no_quantile_and_no_mean() -> None:
    assert (Histogram().quantile(0.5), Histogram().mean) == (None, None)


@pytest.mark.parametrize("share", [-0.1, 1.1, 95])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"^share: expected 0 to 1, got {share}"):
        of([1.0]).quantile(share)
