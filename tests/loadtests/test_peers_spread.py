from __future__ import annotations

import pytest

from loadtests.bench.peers.spread import Spread


def test_a_spread_is_the_median_between_its_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("values", [[3.0], [1.0, 3.0], [1.0, 2.0, 9.0]])
def test_quartiles_lie_within_what_was_measured(values: list[float]) -> None:
    spread = Spread.of(values)
    assert min(values) <= spread.low <= spread.middle <= spread.high <= max(values)


def test_of_nothing_there_is_no_spread() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])


def test_the_width_is_a_share_of_the_median() -> None:
    assert Spread(90.0, 100.0, 120.0).width == pytest.approx(0.3)
    assert Spread(0.0, 0.0, 1.0).width == 0


def test_spreads_overlap_where_they_have_a_value_in_common() -> None:
    assert Spread(1, 2, 3).overlaps(Spread(3, 4, 5))
    assert Spread(1, 9, 10).overlaps(Spread(4, 5, 6))
    assert not Spread(1, 2, 3).overlaps(Spread(3.1, 4, 5))
