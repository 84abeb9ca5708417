"""A prompt for each agent in turn, results in the order of the prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from swarmpool.options import text
from swarmpool.patterns.steps import Manner, checked_items, fill
from swarmpool.progress import ProgressCallback
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["map_gather", "scatter_gather"]


async def scatter_gather(
    pool: AgentPool,
    prompts: Iterable[str],
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    **sampling: Any,
) -> list[Response]:
    """Send prompt i to agent `i % size`; results in the order of the prompts, failures among them.

    Step of its progress: `scatter`. What is raised, and what cancelling does: see `swarmpool.patterns`.
    """
    manner = Manner(progress, max_tokens, sampling=sampling)
    return await manner.ask(pool, checked_items("prompts", prompts), "scatter")


async def map_gather(
    pool: AgentPool,
    items: Iterable[Any],
    prompt_template: str,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    **sampling: Any,
) -> list[Response]:
    """`scatter_gather` of `prompt_template` with each item, as text, for `{item}`."""
    template = text("prompt_template", prompt_template)
    prompts = [fill(template, item=item) for item in checked_items("items", items)]
    return await scatter_gather(pool, prompts, progress=progress, max_tokens=max_tokens, **sampling)
