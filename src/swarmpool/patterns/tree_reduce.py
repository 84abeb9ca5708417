"""Many answers, merged in groups, and the merged ones in groups again, until there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarmpool.aggregators import nothing_succeeded
from swarmpool.options import count, text
from swarmpool.patterns.reduction import Reduction, joined, reduction
from swarmpool.patterns.steps import Manner, checked_items, checked_template, fill, placed
from swarmpool.progress import ProgressCallback
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["tree_reduce"]


async def tree_reduce(
    pool: AgentPool,
    prompt: str,
    reduce_prompt: str,
    fanin: int = 50,
    items: Iterable[Any] | None = None,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    max_tokens_aggregation: int | None = None,
    **sampling: Any,
) -> Reduction:
    """One answer made of many: to `prompt` from every agent, or to `prompt` with each of `items` for `{item}`.

    Groups of `fanin` answers, in their order, go as `{responses}` in `reduce_prompt` to the agents in turn, with the
    number of the level, from 1, for `{level}`; so do the merged answers, until one is left. A single answer needs no
    merging. A group that could not be merged is among the `failures`, and the rest goes on without it; if nothing is
    left, the result is a failure. Steps of its progress: `leaves`, `level 1`, `level 2` and so on.

    `fanin` is at least 2. What else is raised, and what cancelling does: see `swarmpool.patterns`.
    """
    count("fanin", fanin, at_least=2)
    manner = Manner(progress, max_tokens, max_tokens_aggregation, sampling)
    template = checked_template("reduce_prompt", reduce_prompt, "responses")
    if items is None:
        leaves = await manner.ask_each(pool, prompt, "leaves")
    else:
        prompts = [fill(text("prompt", prompt), item=item) for item in checked_items("items", items)]
        leaves = await manner.ask(pool, prompts, "leaves")
    return await _merged(manner, pool, template, fanin, leaves)


@dataclass(frozen=True, slots=True)
class _Node:
    """An answer, and how many leaves are in it."""

    answer: Response
    leaves: int


async def _merged(manner: Manner, pool: AgentPool, template: str, fanin: int, leaves: Sequence[Response]) -> Reduction:
    failures = [leaf for leaf in leaves if not leaf.success]
    nodes = [_Node(leaf, 1) for leaf in leaves if leaf.success]
    answers, level = leaves, 0
    while len(nodes) > 1:
        level += 1
        groups = [nodes[start : start + fanin] for start in range(0, len(nodes), fanin)]
        prompts = [fill(template, responses=joined([node.answer for node in group]), level=level) for group in groups]
        answers = await manner.aggregate(pool, prompts, f"level {level}")
        merged = [
            _Node(answer, sum(node.leaves for node in group)) for answer, group in zip(answers, groups, strict=True)
        ]
        failures += [
            _lost(node, level, number, len(merged)) for number, node in enumerate(merged, 1) if not node.answer.success
        ]
        nodes = [node for node in merged if node.answer.success]
    if not nodes:
        return reduction(nothing_succeeded("to merge", answers), failures, asked=len(leaves), covered=0)
    [last] = nodes
    return reduction(last.answer, failures, asked=len(leaves), covered=last.leaves)


def _lost(node: _Node, level: int, number: int, groups: int) -> Response:
    return placed(node.answer, f"level {level}, group {number} of {groups}, with the answers of {node.leaves} leaves")
