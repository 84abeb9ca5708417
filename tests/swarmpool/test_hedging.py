from __future__ import annotations

from typing import Any

import pytest

from swarmpool.hedging import Hedge, Hedging


def test_a_fixed_delay_is_known_at_once_and_stays() -> None:
    hedging = Hedging(Hedge(after=0.2))
    assert hedging.begun() == 0.2
    for _ in range(100):
        hedging.answered(9.0)
    assert hedging.begun() == 0.2


def test_nothing_is_slow_before_there_are_answers_enough() -> None:
    hedging = Hedging(Hedge(at_least=20))
    for _ in range(19):
        hedging.answered(1.0)
        assert hedging.begun() is None
    hedging.answered(1.0)
    assert hedging.begun() == 1.0


def test_the_delay_is_the_quantile_of_the_last_answers() -> None:
    hedging = Hedging(Hedge(quantile=0.95, at_least=100))
    for number in range(100):
        hedging.answered(number / 100)
    assert hedging.begun() == 0.95


def test_it_follows_a_fleet_that_has_become_slower() -> None:
    hedging = Hedging(Hedge(at_least=20))
    for seconds in (1.0, 10.0):
        for _ in range(256):
            hedging.answered(seconds)
    assert hedging.begun() == 10.0


def test_a_second_try_is_for_a_share_of_the_requests() -> None:
    hedging = Hedging(Hedge(after=0.1, share=0.1))
    taken = 0
    for _ in range(1000):
        hedging.begun()
        taken += hedging.take()
    assert taken == 100


def test_no_share_is_no_second_try() -> None:
    hedging = Hedging(Hedge(after=0.1, share=0.0))
    hedging.begun()
    assert not hedging.take()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"after": 0}, "Hedge.after must be a number of seconds above 0, not 0"),
        ({"quantile": 1.1}, "Hedge.quantile must be a number from 0 to 1, not 1.1"),
        ({"share": -0.1}, "Hedge.share must be a number from 0 to 1, not -0.1"),
        ({"at_least": 0}, "Hedge.at_least must be at least 1, not 0"),
        ({"at_least": 257}, "Hedge.at_least must be at most 256, not 257"),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Hedge(**options)
