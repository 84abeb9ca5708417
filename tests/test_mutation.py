"""What the mutation check stands on."""

from __future__ import annotations

from typing import Any

import pytest
from mutation import Ground, Mutant, Patch, find, shrunk


class Product:
    def answer(self) -> int:
        return 42


class Better(Product):
    """It has no `answer` of its own."""


def broken(_: Product) -> int:
    return 41


def attempt(_: int, plan: Any) -> BaseException | None:
    return ValueError(f"wrong after {plan}") if 3 in plan and Better().answer() != 42 else None


GROUND = Ground("numbers", lambda number: list(range(number)), attempt)
WRONG = Mutant("wrong", "the answer is wrong", Patch(Better, "answer", broken))


def test_a_mutant_is_broken_inside_of_its_block_only() -> None:
    def use() -> None:
        with WRONG.alive():
            assert (Better().answer(), Product().answer()) == (41, 42)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert Better().answer() == 42
    assert "answer" not in vars(Better)


def test_what_was_there_is_put_back() -> None:
    before = Product.answer
    with Mutant("wrong", "the answer is wrong", Patch(Product, "answer", broken)).alive():
        assert Product().answer() == 41
    assert vars(Product)["answer"] is before


def test_the_first_plan_that_fails_is_the_find_and_only_what_matters_of_it_is_left() -> None:
    found = find(GROUND, WRONG, most=10)
    assert found is not None
    assert (found.number, found.plan) == (4, [0, 1, 2, 3])
    assert shrunk(GROUND, WRONG, found) == [3]


def test_what_is_not_found_within_so_many_plans_is_not_found() -> None:
    assert find(GROUND, WRONG, most=4) is None
    assert find(GROUND, Mutant("harmless", "nothing is wrong"), most=10) is None
