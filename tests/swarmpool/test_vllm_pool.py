"""Code that has `from aurora_swarm.vllm_pool import VLLMPool` changes the first name and no more."""

from __future__ import annotations

import swarmpool
from swarmpool.vllm_pool import VLLMPool


def test_it_is_the_same_class_by_another_name() -> None:
    assert VLLMPool is swarmpool.VLLMPool
