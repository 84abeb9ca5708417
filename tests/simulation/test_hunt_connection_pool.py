"""The hunt for bugs of `ConnectionPool` and `WebSocketPool`: plans drawn from seeds, played on the fleet's websockets.

`websocket_hunt` says what a plan is made of and what must hold of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from websocket_hunt.drawing import draw_contended, draw_random
from websocket_hunt.play import play
from websocket_hunt.steps import Plan

import simkernel

_BLOCK = 25
_BLOCKS = range(0, 150, _BLOCK)


def on_a_grid(seed: int) -> float:
    """Every third world has no grid, the others one on which things coincide."""
    return (0.0, 0.005, 0.02)[seed % 3]


@pytest.mark.parametrize("first", _BLOCKS)
@pytest.mark.parametrize("draw", [draw_random, draw_contended])
def test_whatever_the_plan_the_pool_keeps_its_promises(draw: Callable[[random.Random], Plan], first: int) -> None:
    for seed in range(first, first + _BLOCK):
        plan = draw(random.Random(f"plan {seed}"))
        result = simkernel.attempt(partial(play, plan=plan), seed, quantum=on_a_grid(seed), segments=False)
        told = f"seed {seed}: {result.error!r}, {result.unhandled}; the plan: {plan}"
        assert result.error is None, told
        assert result.unhandled == [], told
