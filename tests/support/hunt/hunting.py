"""Many seeds, one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import simkernel
from hunt.carrying_out import Broken, carry_out
from hunt.kinds import Kind
from hunt.steps import Step

__all__ = ["attempt", "hunt", "plan_of"]

Draw = Callable[[random.Random], list[Step]]


def hunt(kind: Kind, draw: Draw, seeds: Iterable[int], **settings: Any) -> None:
    """Draw a plan for each seed and carry it out. Raises what the first failure ends with; a note has its plan."""
    for seed in seeds:
        plan = plan_of(draw, seed)
        error = attempt(kind, plan, seed, **settings)
        if error is not None:
            error.add_note("\n".join(["the plan:", *(f"    {step!r}," for step in plan)]))
            raise error


def plan_of(draw: Draw, seed: int) -> list[Step]:
    """The plan that simkernel's pytest plugin draws for that seed."""
    return draw(random.Random(f"simkernel plan {seed}"))


def attempt(kind: Kind, plan: Sequence[Step], seed: int, **settings: Any) -> BaseException | None:
    """Carry a plan out, and return what it ends with; None if all is well."""
    result = simkernel.attempt(lambda net: carry_out(net, kind, plan), seed=seed, **settings)
    if result.error is None and result.unhandled:
        return Broken(f"nobody has handled {result.unhandled[0]}")
    return result.error
