from __future__ import annotations

import random
import statistics
from typing import Literal

import pytest

from fleetsim.engine.jitter import jitter


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_mean_and_spread_come_out_as_asked(kind: Literal["normal", "lognormal"]) -> None:
    draw = jitter(kind, 0.2, random.Random(4711))
    drawn = [draw(10.0) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(10, rel=0.01)
    assert statistics.stdev(drawn) == pytest.approx(2, rel=0.03)


def test_no_time_is_negative() -> None:
    draw = jitter("normal", 2.0, random.Random(4711))
    assert min(draw(1.0) for _ in range(1_000)) == 0


def test_the_same_seed_draws_the_same() -> None:
    first, second = (jitter("lognormal", 0.2, random.Random(7)) for _ in range(2))
    assert [first(1) for _ in range(5)] == [second(1) for _ in range(5)]


def test_where_nothing_varies_no_chance_is_needed() -> None:
    assert jitter("none", 0.2, None)(3.0) == 3.0
    assert jitter("normal", 0.0, None)(3.0) == 3.0


def test_chance_must_be_given_where_it_is_needed() -> None:
    with pytest.raises(ValueError, match=r"chance: expected a random\.Random for jitter 'normal', got None"):
        jitter("normal", 0.1, None)
