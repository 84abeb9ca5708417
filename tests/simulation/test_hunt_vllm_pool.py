"""The hunt of `VLLMPool`. `hunt/__init__.py` says what it is."""

from __future__ import annotations

import pytest
from hunt import CALM, CONTENDED, VLLM_POOL, draw_contended, draw_random, hunt

_BLOCK = 25


@pytest.mark.parametrize("first", range(0, 150, _BLOCK))
def test_random_plans_find_nothing(first: int) -> None:
    hunt(VLLM_POOL, draw_random, range(first, first + _BLOCK), **CALM)


@pytest.mark.parametrize("first", range(0, 150, _BLOCK))
def test_contended_plans_find_nothing(first: int) -> None:
    hunt(VLLM_POOL, draw_contended, range(first, first + _BLOCK), **CONTENDED)
