"""The hunt for bugs of `ConnectionPool` and `WebSocketPool`: plans drawn from seeds, played on the fleet's websockets.

`websocket_hunt` says what a plan is made of and what must hold of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from websocket_hunt.drawing import draw_contended, draw_random
from websocket_hunt.hunting import attempt
from websocket_hunt.steps import Lending, Plan, Use

_BLOCK = 25


@pytest.mark.parametrize("first", range(0, 150, _BLOCK))
@pytest.mark.parametrize("draw", [draw_random, draw_contended])
def test_whatever_the_plan_the_pool_keeps_its_promises(draw: Callable[[random.Random], Plan], first: int) -> None:
    for seed in range(first, first + _BLOCK):
        plan = draw(random.Random(f"plan {seed}"))
        error = attempt(plan, seed)
        if error is not None:
            error.add_note(f"the plan of seed {seed}:\n" + "\n".join(f"    {step!r}," for step in plan))
            raise error


# What was found, made small.
FOUND: dict[str, Plan] = {
    "waiting for a socket of the tree counted against connect_timeout": (
        Lending(kind="agents", options=(("connect_timeout", 1.0),), sockets=2),
        Use(name=1, pause=2.0),
        Use(at=0.5, name=2, which=1),
    ),
}


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("seed", range(3))
def test_what_was_found_stays_away(plan: Plan, seed: int) -> None:
    error = attempt(plan, seed)
    if error is not None:
        raise error
