"""The hunt of pools that do something about agents that fail: retries, breakers, hedges, routing. See docs/hunt.md."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hunt import AGENT_POOL, CALM, CONTENDED, VLLM_POOL, carry_out, draw_caring, simpler
from hunt.steps import Step

from simkernel import Net


@pytest.mark.simulated(seeds=100, plan=draw_caring, simpler=simpler, **CALM)
async def test_plans_for_an_agent_pool_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await carry_out(net, AGENT_POOL, plan)


@pytest.mark.simulated(seeds=100, plan=draw_caring, simpler=simpler, **CONTENDED)
async def test_plans_for_a_vllm_pool_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await carry_out(net, VLLM_POOL, plan)
