"""Agents that answer each prompt with the prompt itself, a server each, and a `VLLMPool` of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from vllm_agent import VLLMAgent

from swarmpool import AgentEndpoint, VLLMPool

__all__ = ["echoing", "prompts_of"]


@asynccontextmanager
async def echoing(
    number: int, tags: Sequence[Mapping[str, str]] = (), **options: Any
) -> AsyncIterator[tuple[list[VLLMAgent], VLLMPool]]:
    """`number` agents with `tags`, and a pool that knows their model and context unless told otherwise."""
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(VLLMAgent()) for _ in range(number)]
        each = [dict(tags[index]) if index < len(tags) else {} for index in range(number)]
        endpoints = [
            AgentEndpoint(agent.endpoint.host, agent.port, tag) for agent, tag in zip(agents, each, strict=True)
        ]
        known = {"model": "sim", "model_max_context": 100_000, **options}
        yield agents, await stack.enter_async_context(VLLMPool(endpoints, **known))


def prompts_of(agent: VLLMAgent) -> list[str]:
    """What an agent was asked, in order."""
    return [body["messages"][-1]["content"] for body in agent.sent]
