"""The hunt of `VLLMPool`: what it is, `hunt/__init__.py` and docs/hunt.md say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hunt import CALM, CONTENDED, VLLM_POOL, carry_out, draw_contended, draw_random, simpler
from hunt.steps import Step

from simkernel import Net


@pytest.mark.simulated(seeds=150, plan=draw_random, simpler=simpler, **CALM)
async def test_random_plans_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await carry_out(net, VLLM_POOL, plan)


@pytest.mark.simulated(seeds=150, plan=draw_contended, simpler=simpler, **CONTENDED)
async def test_contended_plans_find_nothing(net: Net, plan: Sequence[Step]) -> None:
    await carry_out(net, VLLM_POOL, plan)
