"""A mutant is the product with one thing broken on purpose, and a ground is where it is hunted.

A hunt that finds nothing says little, unless it is known to find what is there. So each mutant must be found by the
very plans that the tests play with the pool as it is, in their order; and the plan that finds it must find nothing in
the pool as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from simkernel import shrink

__all__ = ["Find", "Ground", "Mutant", "Patch", "find", "shrunk"]

_ABSENT = object()
_TRIES = 300  # for a small plan

Plan = Sequence[Any]


class Patch:
    """`owner`'s attribute `name` is `value` while it is applied."""

    def __init__(self, owner: Any, name: str, value: Any) -> None:
        self._owner, self._name, self._value = owner, name, value

    def apply(self) -> Callable[[], None]:
        """Put it there, and return what puts back what was there."""
        before = vars(self._owner).get(self._name, _ABSENT)
        setattr(self._owner, self._name, self._value)

        def undo() -> None:
            if before is _ABSENT:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, before)

        return undo


class Mutant:
    """`name` is for tables, `what` says in words what is wrong, and the patches make it so."""

    def __init__(self, name: str, what: str, *patches: Patch) -> None:
        self.name, self.what, self._patches = name, what, patches

    def __repr__(self) -> str:
        return self.name

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The product is broken inside of it."""
        undo = [patch.apply() for patch in self._patches]
        try:
            yield
        finally:
            for each in reversed(undo):
                each()


@dataclass(frozen=True)
class Ground:
    """The plans of one hunt by number, from 0, in the order that the tests play them, and how to play one of them."""

    name: str
    draw: Callable[[int], Plan]
    attempt: Callable[[int, Plan], BaseException | None]


@dataclass(frozen=True)
class Find:
    """Plan number `number` has found a mutant, after so many seconds of this machine's."""

    number: int
    plan: Plan
    error: BaseException
    seconds: float


def find(ground: Ground, mutant: Mutant, most: int) -> Find | None:
    """Return the first of `most` plans that finds the mutant; None if none does."""
    began = time.perf_counter()
    with mutant.alive():
        for number in range(most):
            plan = ground.draw(number)
            error = ground.attempt(number, plan)
            if error is not None:
                return Find(number, plan, error, time.perf_counter() - began)
    return None


def shrunk(ground: Ground, mutant: Mutant, found: Find) -> Plan:
    """Return a small part of the plan that finds the mutant with the same kind of error."""

    def fails(plan: Plan) -> bool:
        return type(ground.attempt(found.number, plan)) is type(found.error)

    with mutant.alive():
        return shrink(found.plan, fails, tries=_TRIES)
