"""Plans are what the hunt's failures are told in: they print as the Python that makes them, and get simpler."""

from __future__ import annotations

import pytest
from hunt import draw_caring, draw_contended, draw_random, plan_of, simpler, steps
from hunt.hunting import Draw
from hunt.steps import Setup, Step, Stream

DRAWS: tuple[Draw, ...] = (draw_random, draw_contended, draw_caring)


def simplest(step: Step) -> Step:
    return next((simplest(each) for each in simpler(step)), step)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_plan_prints_as_the_python_that_makes_it(draw: Draw) -> None:
    for seed in range(50):
        plan = plan_of(draw, seed)
        assert eval(repr(plan), dict(vars(steps))) == plan


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_draws_the_same_plan_each_time_and_its_setup_comes_first(draw: Draw) -> None:
    plans = [plan_of(draw, seed) for seed in range(50)]
    assert plans == [plan_of(draw, seed) for seed in range(50)]
    assert len({repr(plan) for plan in plans}) == 50
    for plan in plans:
        assert [isinstance(step, Setup) for step in plan] == [True] + [False] * (len(plan) - 1)


def test_a_step_gets_simpler_one_field_at_a_time_until_it_is_as_by_default() -> None:
    step = Stream(at=0.5, call=3, leave_after=2)
    assert list(simpler(step)) == [Stream(call=3, leave_after=2), Stream(at=0.5, call=3)]
    assert simplest(step) == Stream(call=3)
