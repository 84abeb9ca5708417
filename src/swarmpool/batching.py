"""How prompts become batches, and a batch's answer the results of its prompts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarmpool.exchange import WireFailure
from swarmpool.formats import Reply, ShapeError, read_completions
from swarmpool.responses import FailureKind, Response
from swarmpool.results import result, status_failure

if TYPE_CHECKING:
    from swarmpool.exchange import Exchange, Outcome
    from swarmpool.options import VLLMOptions

__all__ = ["BATCH_LIMIT", "batch_results", "batch_seconds", "deal"]

BATCH_LIMIT = 1024
"""Prompts in one request; vLLM answers 400 to more (`VLLM_MAX_COMPLETION_PROMPTS`)."""


def deal(prompts: int, agents: int, limit: int = BATCH_LIMIT) -> list[range]:
    """The indices of each batch: prompt i goes to agent `i % agents`, and batch k belongs to agent `k % agents`."""
    stride = limit * agents
    return [
        range(start + agent, min(prompts, start + stride), agents)
        for start in range(0, prompts, stride)
        for agent in range(min(agents, prompts - start))
    ]


def batch_seconds(options: VLLMOptions, timeout: float | None, prompts: int) -> float | None:
    """The time limit of a batch: the server works on `batch_concurrency` sequences at a time, in waves."""
    waves = math.ceil(prompts / options.batch_concurrency)
    limit = None if timeout is None else max(timeout, waves * options.timeout_per_sequence)
    if options.batch_timeout_cap is None:
        return limit
    return options.batch_timeout_cap if limit is None else min(limit, options.batch_timeout_cap)


def batch_results(agent_index: int, exchange: Exchange, outcome: Outcome, numbers: Sequence[int]) -> list[Response]:
    """The result of each prompt; `numbers` are their places in the whole call."""
    failure = outcome.failure or status_failure(outcome)
    replies: list[Reply | None] = [None] * len(numbers)
    if failure is None:
        try:
            replies = read_completions(outcome.body, len(numbers))
        except ShapeError as error:
            failure = WireFailure(FailureKind.SHAPE, str(error))
    return [
        _one(agent_index, exchange, outcome, failure, reply, number)
        for reply, number in zip(replies, numbers, strict=True)
    ]


def _one(
    agent_index: int,
    exchange: Exchange,
    outcome: Outcome,
    failure: WireFailure | None,
    reply: Reply | None,
    number: int,
) -> Response:
    if failure is None and reply is None:
        failure = WireFailure(FailureKind.MISSING, "the answer to the batch has no entry for this prompt")
    return result(
        agent_index,
        exchange,
        text=reply.text if reply else "",
        status=outcome.status,
        failure=failure,
        finish_reason=reply.finish_reason if reply else None,
        usage=reply.usage if reply else None,
        prompt_index=number,
        retry_after=outcome.retry_after,
    )
