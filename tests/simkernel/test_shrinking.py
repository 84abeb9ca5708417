"""A plan that fails becomes a small one: no step can go, no question is asked twice, the budget holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkernel import shrink


class Asked:
    """A question that keeps what it was asked."""

    def __init__(self, answer: Callable[[list[int]], bool]) -> None:
        self._answer = answer
        self.plans: list[list[int]] = []

    def __call__(self, plan: list[int]) -> bool:
        self.plans.append(list(plan))
        answer = self._answer(plan)
        plan.clear()  # the list is the question's own
        return answer


def contains(*wanted: int) -> Callable[[list[int]], bool]:
    return lambda plan: set(wanted) <= set(plan)


def test_only_the_steps_that_matter_are_left_in_their_order() -> None:
    assert shrink(range(100), Asked(contains(71, 3, 40))) == [3, 40, 71]


def test_a_failure_that_needs_no_step_is_the_empty_plan() -> None:
    fails = Asked(lambda plan: True)
    assert shrink(range(100), fails) == []
    assert len(fails.plans) == 1


def test_a_plan_of_which_every_step_matters_stays() -> None:
    assert shrink([1, 2, 3], Asked(contains(1, 2, 3))) == [1, 2, 3]


def test_steps_that_matter_only_in_numbers_are_as_few_as_can_be() -> None:
    assert shrink([7] * 64, Asked(lambda plan: len(plan) >= 5)) == [7] * 5


@given(
    steps=st.lists(st.integers(0, 6), max_size=12),
    causes=st.lists(st.frozensets(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=3),
    parity=st.booleans(),
)
def test_no_single_step_can_go_and_no_plan_is_asked_about_twice(
    steps: list[int], causes: list[frozenset[int]], parity: bool
) -> None:
    """Also where a failure comes and goes as steps are left out: an odd plan may pass where a smaller one fails."""

    def is_bad(plan: list[int]) -> bool:
        return any(cause <= set(plan) for cause in causes) and not (parity and len(plan) % 2)

    fails = Asked(is_bad)
    found = shrink(steps, fails)
    assert found == steps or is_bad(found)
    assert not any(is_bad(found[:place] + found[place + 1 :]) for place in range(len(found)))
    assert len({tuple(plan) for plan in [steps, *fails.plans]}) == 1 + len(fails.plans)


def test_the_same_questions_are_asked_each_time() -> None:
    steps = random.Random(4711).choices(range(30), k=60)
    first, second = Asked(contains(3, 9)), Asked(contains(3, 9))
    assert shrink(steps, first) == shrink(steps, second)
    assert first.plans == second.plans


@pytest.mark.parametrize("tries", range(20))
def test_the_tries_are_never_exceeded_and_what_was_found_by_then_fails(tries: int) -> None:
    fails = Asked(contains(3, 40, 71))
    found = shrink(range(100), fails, tries=tries)
    assert len(fails.plans) == tries
    assert {3, 40, 71} <= set(found)


def test_steps_become_simpler_and_the_simpler_ones_need_less() -> None:
    """10 needs its 1; once it is a 5, it does not."""

    def halves(step: int) -> Iterable[int]:
        return (step // 2,) if step > 1 else ()

    fails = Asked(lambda plan: 5 in plan or (10 in plan and 1 in plan))
    assert shrink([1, 4, 10, 8], fails, simpler=halves) == [5]


def test_the_simplest_version_that_fails_is_taken() -> None:
    fails = Asked(lambda plan: sum(plan) >= 12)
    assert shrink([100], fails, simpler=range) == [12]
    assert [3] in fails.plans


def test_a_step_may_become_simpler_because_a_later_one_did() -> None:
    fails = Asked(lambda plan: plan in ([2, 2], [2, 1], [1, 1]))
    assert shrink([2, 2], fails, simpler=lambda step: [step - 1]) == [1, 1]


def test_versions_that_lead_back_to_each_other_end() -> None:
    fails = Asked(bool)
    assert shrink([0], fails, simpler=lambda step: [(step + 1) % 3]) == [2]


def test_steps_need_not_be_hashable() -> None:
    plan = [{"at": number} for number in range(10)]
    assert shrink(plan, lambda plan: {"at": 4} in plan) == [{"at": 4}]


def test_what_the_question_raises_ends_the_search() -> None:
    def broken(plan: list[int]) -> bool:
        raise LookupError("no")

    with pytest.raises(LookupError):
        shrink([1, 2], broken)


def test_tries_that_make_no_sense_are_named() -> None:
    with pytest.raises(ValueError, match=r"tries=-1: expected a whole number of at least 0"):
        shrink([1], bool, tries=-1)
