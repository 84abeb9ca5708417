"""Prompts and items to the agents in turn, results in their order."""

from __future__ import annotations

from typing import Any

import pytest
from echoing import echoing, prompts_of

from fleetsim import Fleet
from swarmpool import VLLMPool
from swarmpool.patterns.scatter_gather import map_gather, scatter_gather
from swarmpool.progress import Progress


async def test_prompt_i_goes_to_agent_i_modulo_size() -> None:
    prompts = [f"prompt {number}" for number in range(5)]
    async with echoing(2) as (agents, pool):
        responses = await scatter_gather(pool, iter(prompts), max_tokens=5)
        assert [response.text for response in responses] == prompts
        assert [response.agent_index for response in responses] == [0, 1, 0, 1, 0]
        assert [sorted(prompts_of(agent)) for agent in agents] == [prompts[::2], prompts[1::2]]
        assert {body["max_tokens"] for body in agents[0].sent} == {5}
        assert await scatter_gather(pool, []) == []


async def test_items_of_any_kind_fill_the_template_as_text() -> None:
    async with echoing(2) as (_, pool):
        responses = await map_gather(pool, (item for item in (1, "{item}", None)), 'say {item} in {"json": {item}}')
        assert [response.text for response in responses] == [
            'say 1 in {"json": 1}',
            'say {item} in {"json": {item}}',
            'say None in {"json": None}',
        ]


async def test_failures_keep_their_places() -> None:
    seen: list[Progress] = []
    async with Fleet(3) as fleet, VLLMPool(fleet.endpoints, "sim", model_max_context=4096, max_tokens=2) as pool:
        with fleet[1].fault("unavailable"):
            responses = await map_gather(pool, range(6), "{item}", progress=seen.append)
    assert [response.success for response in responses] == [True, False, True, True, False, True]
    assert [response.prompt_index for response in responses] == list(range(6))
    assert seen[-1] == Progress("scatter", 6, 6, 2)


@pytest.mark.parametrize("prompts", ["one prompt", ["a", 7], None])
async def test_prompts_must_be_a_collection_of_texts(prompts: Any) -> None:
    async with echoing(1) as ([agent], pool):
        with pytest.raises(TypeError, match="prompts"):
            await scatter_gather(pool, prompts)
        with pytest.raises(TypeError, match="prompt_template must be text"):
            await map_gather(pool, [1], None)  # type: ignore[arg-type] # on purpose
        assert agent.sent == []
