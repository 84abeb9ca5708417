"""Patterns and embeddings under faults, in time and by seed: what is missing is told, to the last answer.

A plan is a list of calls, each with its time, its view and the moment it is cancelled, if any. While they run, servers
fail in ways that the seed chooses. Each result is judged when it comes; at the end both ends' books must agree.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest

from fleetsim import Fleet, Profile
from swarmpool import EmbeddingPool, EmbeddingResponse, Health, Response, Retry, VLLMPool
from swarmpool.patterns import (
    Blackboard,
    PipelineResult,
    Progress,
    Reduction,
    Stage,
    broadcast,
    broadcast_and_reduce,
    fan_out_fan_in,
    run_stages,
    scatter_gather,
    tree_reduce,
)

SIZE = 6
SECONDS = 20.0
PROFILE = Profile(ttft=0.05, itl=0.01, embedding_dimensions=8)
FAULTS = ["unavailable", "reset", "before_head", "truncated", "rate_limited", "stall;seconds=3s", "server_error"]
LOST = re.compile(r"with the answers of (\d+) leaves")
CARES: list[dict[str, Any]] = [{}, {"retry": Retry(unsafe=True)}, {"retry": Retry(), "health": Health()}]


@dataclass(frozen=True)
class Call:
    """A pattern on the agents `first` to `last`, begun at `at` and cancelled after `patience`."""

    at: float
    pattern: str
    first: int
    last: int
    patience: float | None


def draw(random: Random) -> list[Call]:
    calls = []
    for _ in range(random.randint(1, 12)):
        first = random.randrange(SIZE)
        last = random.randint(first + 1, SIZE)
        patience = random.choice([None, None, random.uniform(0, 1)])
        calls.append(Call(random.uniform(0, SECONDS), random.choice(sorted(JUDGES)), first, last, patience))
    return sorted(calls, key=lambda call: call.at)


# ------------------------------------------------------------------------------------------------ what must be true


def judge_all(responses: Sequence[Response | EmbeddingResponse]) -> None:
    for response in responses:
        assert response.success == (response.kind is None) == (response.error is None), response


def judge_reduction(result: Reduction, asked: int) -> None:
    judge_all([result, *result.failures])
    lost = [LOST.search(str(failure.error)) for failure in result.failures]
    missing = sum(int(found[1]) if found else 1 for found in lost)
    assert result.asked == asked
    if result.success:
        assert result.covered == asked - missing
        assert result.complete == (missing == 0)
    else:
        assert (result.covered, result.complete) == (0, False)


async def _broadcast(pool: VLLMPool, **options: Any) -> None:
    responses = await broadcast(pool, "hi", **options)
    judge_all(responses)
    assert [response.endpoint for response in responses] == list(pool.endpoints)


async def _scatter(pool: VLLMPool, **options: Any) -> None:
    responses = await scatter_gather(pool, [f"prompt {number}" for number in range(15)], **options)
    judge_all(responses)
    assert [response.prompt_index for response in responses] == list(range(15))


async def _reduce(pool: VLLMPool, **options: Any) -> None:
    judge_reduction(await broadcast_and_reduce(pool, "hi", "{responses}", pool.size - 1, **options), pool.size)


async def _tree(pool: VLLMPool, **options: Any) -> None:
    judge_reduction(await tree_reduce(pool, "{item}", "{level} {responses}", 3, range(20), **options), 20)


async def _fan(pool: VLLMPool, **options: Any) -> None:
    workers = max(1, pool.size - 1)
    judge_reduction(await fan_out_fan_in(pool, "hi", "{responses}", workers, **options), workers)


async def _stages(pool: VLLMPool, **options: Any) -> None:
    stages = [Stage("a", "{input}", pool.size), Stage("b", "{input}", 1)]
    result: PipelineResult = await run_stages(pool, stages, "hi", **options)
    assert len(result.failures) == sum(not one.success for stage in result.stages for one in stage.responses)
    assert (result.output is None) == (result.stopped is not None)


async def _board(pool: VLLMPool, **options: Any) -> None:
    board = Blackboard(["ideas"], lambda *_: "hi")
    await board.run(pool, 2, **options)
    assert len(board.board["ideas"]) + len(board.failures) == 2 * pool.size
    assert board.round == 2


async def _embed(pool: VLLMPool, **options: Any) -> None:
    embedding: EmbeddingPool = pool.embeddings(batch_size=3)
    responses = await embedding.embed_all([f"text {number}" for number in range(20)], **options)
    judge_all(responses)
    assert [response.text_index for response in responses] == list(range(20))
    for number, response in enumerate(responses):
        truth = VECTORS.get((response.tree_index, number))
        assert response.embedding == (truth if response.success else None)


JUDGES: dict[str, Callable[..., Awaitable[None]]] = {
    "board": _board,
    "broadcast": _broadcast,
    "embed": _embed,
    "fan": _fan,
    "reduce": _reduce,
    "scatter": _scatter,
    "stages": _stages,
    "tree": _tree,
}
VECTORS: dict[tuple[int, int], list[float] | None] = {}


async def learn(pool: VLLMPool) -> None:
    """What each server says of each text, while all is well."""
    embedding = pool.embeddings()
    for index in range(SIZE):
        responses = await embedding.embed_batch(index, [f"text {number}" for number in range(20)])
        VECTORS.update({(index, number): response.unwrap() for number, response in enumerate(responses)})


async def carry_out(pool: VLLMPool, call: Call, told: bool) -> None:
    await asyncio.sleep(call.at)
    seen: list[Progress] = []
    options = {"progress": seen.append} if told else {}
    work = asyncio.ensure_future(JUDGES[call.pattern](pool.slice(call.first, call.last), **options))
    done, _ = await asyncio.wait([work], timeout=call.patience)
    if done:
        work.result()
        assert told == any(moment.done == moment.total for moment in seen)
        return
    work.cancel()
    await asyncio.wait([work])


async def faults(fleet: Fleet, random: Random) -> None:
    """Servers fail, one or all, now and then; the last of it heals before the end."""
    async with AsyncExitStack() as rules:
        for _ in range(random.randint(0, 6)):
            await asyncio.sleep(random.uniform(0, SECONDS / 6))
            where: dict[str, Any] = {} if random.random() < 0.3 else {"server": random.randrange(SIZE)}
            rules.enter_context(
                fleet.fault(random.choice(FAULTS), rate=random.choice([0.2, 1.0]), where=cast(Any, where), for_="2s")
            )
        await asyncio.sleep(SECONDS)


@pytest.mark.simulated(seeds=150, plan=draw)
async def test_what_is_missing_is_told_to_the_last_answer(plan: list[Call], random: Random) -> None:
    care = random.choice(CARES)
    async with Fleet(SIZE, profile=PROFILE, seed=1, tags={"role": "ideas"}) as fleet:
        endpoints = fleet.endpoints
        pool = VLLMPool(endpoints, "sim", 5, model_max_context=4096, concurrency=random.choice([2, 9, 512]), **care)
        async with pool:
            await learn(pool)
            trouble = asyncio.create_task(faults(fleet, random))
            await asyncio.gather(*(carry_out(pool, call, random.random() < 0.5) for call in plan))
            await trouble
            moment = pool.statistics()
            assert (moment.admission.in_flight, moment.admission.waiting) == (0, 0)
        moment = pool.statistics()
        assert moment.connections.open == 0
        await fleet.ledger.wait_for(open_now=0, in_flight=0)
        assert fleet.ledger.opened == moment.connections.opened
