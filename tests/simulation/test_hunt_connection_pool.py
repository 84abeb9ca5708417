"""The hunt of `ConnectionPool` and `WebSocketPool` on the fleet's websockets: `websocket_hunt/__init__.py` says how."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hunt import simpler
from websocket_hunt.drawing import draw_contended, draw_random
from websocket_hunt.hunting import COARSE, FINE, LOOSE
from websocket_hunt.play import play
from websocket_hunt.steps import Cancel, Close, Lending, Plan, Step, Use

from simkernel import Net


@pytest.mark.simulated(seeds=100, plan=draw_random, simpler=simpler, **LOOSE)
async def test_random_plans_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await play(net, plan)


@pytest.mark.simulated(seeds=100, plan=draw_contended, simpler=simpler, **FINE)
async def test_contended_plans_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await play(net, plan)


@pytest.mark.simulated(seeds=100, plan=draw_contended, simpler=simpler, **COARSE)
async def test_contended_plans_find_nothing_where_more_coincides(net: Net, plan: Sequence[Step]) -> None:
    await play(net, plan)


# What was found, made small.
FOUND: dict[str, Plan] = {
    "waiting for a socket of the tree counted against connect_timeout": (
        Lending(kind="agents", options=(("connect_timeout", 1.0),), sockets=2),
        Use(name=1, pause=2.0),
        Use(at=0.5, name=2, which=1),
    ),
    "a websocket's heartbeat went on when it was closed": (Lending(options=(("heartbeat", 4.0),)), Use(name=1)),
    "a session stayed open whose pool's closing was cancelled": (
        Use(name=1, pause=1.0),
        Close(at=0.2, name=2),
        Cancel(at=0.3, name=2),
    ),
}


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
async def test_what_was_found_stays_away(net: Net, found: Plan) -> None:
    await play(net, found)
