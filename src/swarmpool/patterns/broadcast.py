"""One prompt to every agent; and one answer made of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarmpool.patterns.reduction import Reduction, reduce_once, reducer_of
from swarmpool.patterns.steps import Manner, checked_template
from swarmpool.progress import ProgressCallback
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["broadcast", "broadcast_and_reduce"]


async def broadcast(
    pool: AgentPool,
    prompt: str,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    **sampling: Any,
) -> list[Response]:
    """Send `prompt` to every agent; results in the order of the agents, failures among them.

    Step of its progress: `broadcast`. What is raised, and what cancelling does: see `swarmpool.patterns`.
    """
    return await Manner(progress, max_tokens, sampling=sampling).ask_each(pool, prompt, "broadcast")


async def broadcast_and_reduce(
    pool: AgentPool,
    prompt: str,
    reduce_prompt: str,
    reducer_agent_index: int = 0,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    max_tokens_aggregation: int | None = None,
    **sampling: Any,
) -> Reduction:
    """Send `prompt` to every agent, and have one of them merge the answers, which are `{responses}` in `reduce_prompt`.

    Answers are separated by a line of three dashes. If no agent answers, nothing is left to merge, and the result is a
    failure. Steps of its progress: `broadcast`, `reduce`. The rest: see `swarmpool.patterns`.
    """
    manner = Manner(progress, max_tokens, max_tokens_aggregation, sampling)
    template = checked_template("reduce_prompt", reduce_prompt, "responses")
    reducer = reducer_of(pool, reducer_agent_index)
    answers = await manner.ask_each(pool, prompt, "broadcast")
    return await reduce_once(manner, answers, reducer, reducer_agent_index, template, "reduce")
