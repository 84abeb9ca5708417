"""One plan, one seed, one verdict; and the worlds that plans are meant for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import simkernel
from websocket_hunt.play import play
from websocket_hunt.steps import Plan, Step
from websocket_hunt.witness import ViolationError

__all__ = ["COARSE", "FINE", "LOOSE", "attempt", "plan_of"]

LOOSE: dict[str, Any] = {}
"""simkernel's settings for random plans: packets arrive whenever they do."""
FINE: dict[str, Any] = {"quantum": 0.005}
COARSE: dict[str, Any] = {"quantum": 0.02}
"""For contended plans: packets arrive on a grid, so that things coincide that should not."""


def plan_of(draw: Callable[[random.Random], Plan], seed: int) -> Plan:
    """The plan that simkernel's pytest plugin draws for that seed."""
    return draw(random.Random(f"simkernel plan {seed}"))


def attempt(plan: Sequence[Step], seed: int, **settings: Any) -> BaseException | None:
    """Play a plan in the world of that seed, and return what it ends with; None if all is well."""
    result = simkernel.attempt(partial(play, plan=plan), seed, **settings)
    if result.error is None and result.unhandled:
        return ViolationError(f"nobody has handled {result.unhandled[0]}")
    return result.error
