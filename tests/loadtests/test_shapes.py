from __future__ import annotations

import random
from itertools import pairwise

import pytest

from fleetsim.faults.rules import Rule
from loadtests.shapes import SHAPES

TIMES = [second * 0.5 for second in range(120)]


@pytest.mark.parametrize("name", SHAPES)
def test_users_never_are_more_than_the_peak_nor_none(name: str) -> None:
    users = [SHAPES[name].users(now, 50, 60.0) for now in TIMES]
    assert max(users) == 50
    assert min(users) >= 1
    assert all(SHAPES[name].users(now, 1, 60.0) == 1 for now in TIMES)


def test_a_spike_is_five_times_the_rest_for_the_fifth_in_the_middle() -> None:
    users = [SHAPES["spike"].users(now, 50, 60.0) for now in TIMES]
    assert {now for now, number in zip(TIMES, users, strict=True) if number == 50} == {t for t in TIMES if 24 <= t < 36}
    assert set(users) == {10, 50}


def test_a_ramp_has_ten_equal_steps() -> None:
    users = [SHAPES["ramp"].users(now, 50, 60.0) for now in TIMES]
    assert users == sorted(users)
    assert sorted(set(users)) == list(range(5, 51, 5))
    assert {users.count(number) for number in set(users)} == {12}


def test_pauses_around_keep_alive_lie_on_both_sides_of_five_seconds() -> None:
    chance = random.Random(1)
    pauses = [SHAPES["keep-alive"].pause(0.0, chance) for _ in range(200)]
    assert 4.5 <= min(pauses) < 5 < max(pauses) <= 5.5


def test_a_herd_waits_for_the_same_instant_whenever_it_was_ready() -> None:
    ends = [now + SHAPES["herd"].pause(now, random.Random()) for now in (0.0, 0.3, 1.999)]
    assert ends == pytest.approx([2.0, 2.0, 2.0])


@pytest.mark.parametrize("size", [1, 3, 40])
def test_a_quarter_of_the_agents_dies_thrice_and_comes_back(size: int) -> None:
    strikes = SHAPES["dying"].strikes(60.0, size, random.Random(3))
    assert len(strikes) == 3
    for strike in strikes:
        dead = {tuple(rule["where"]["server"]) for rule in strike.rules}
        assert len(dead) == 1
        assert len(set(dead.pop())) == max(1, size // 4)
        assert strike.at + strike.lasts <= 60.0
    assert all(one.at + one.lasts <= other.at for one, other in pairwise(strikes))


def test_the_rules_of_a_strike_are_such_as_a_fleet_takes() -> None:
    for strike in SHAPES["dying"].strikes(60.0, 8, random.Random(3)):
        assert {Rule.parse(rule).for_ for rule in strike.rules} == {strike.lasts}


def test_who_dies_is_chosen_by_the_seed() -> None:
    dying = SHAPES["dying"].strikes
    assert dying(60.0, 100, random.Random(3)) == dying(60.0, 100, random.Random(3))
    assert dying(60.0, 100, random.Random(3)) != dying(60.0, 100, random.Random(4))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "dying"])
def test_no_other_shape_hurts_anybody(name: str) -> None:
    assert SHAPES[name].strikes(60.0, 8, random.Random(3)) == ()
    assert SHAPES[name].limits.failures == 0
