"""What every pattern keeps on real connections: views, ends, cancellation, and counts that are equal at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleetsim import Fleet
from swarmpool import AgentPool, EmptyPool, Health, LeastInFlight, PoolClosed, Retry, VLLMPool
from swarmpool.patterns import (
    Blackboard,
    Progress,
    Stage,
    broadcast,
    broadcast_and_reduce,
    fan_out_fan_in,
    map_gather,
    run_pipeline,
    scatter_gather,
    tree_reduce,
)

Pattern = Callable[..., Awaitable[object]]

SIZE = 4
STAGES = [Stage("draft", "{input}", SIZE), Stage("edit", "{input}", 2)]


async def _blackboard(pool: AgentPool, **options: Any) -> object:
    return await Blackboard(["ideas"], lambda *_: "hi").run(pool, 2, **options)


PATTERNS: dict[str, Pattern] = {
    "broadcast": lambda pool, **options: broadcast(pool, "hi", **options),
    "broadcast_and_reduce": lambda pool, **options: broadcast_and_reduce(pool, "hi", "{responses}", **options),
    "scatter_gather": lambda pool, **options: scatter_gather(pool, ["hi"] * 2 * SIZE, **options),
    "map_gather": lambda pool, **options: map_gather(pool, range(2 * SIZE), "{item}", **options),
    "tree_reduce": lambda pool, **options: tree_reduce(pool, "hi", "{responses}", 2, **options),
    "tree_reduce of items": lambda pool, **options: tree_reduce(pool, "{item}", "{responses}", 2, range(9), **options),
    "blackboard": _blackboard,
    "pipeline": lambda pool, **options: run_pipeline(pool, STAGES, "hi", **options),
    "fan_out_fan_in": lambda pool, **options: fan_out_fan_in(pool, "hi", "{responses}", **options),
}
each_pattern = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=list(PATTERNS))


def fleet_of(size: int = SIZE) -> Fleet:
    return Fleet(size, seed=1, tags={"role": "ideas"})


def pool_on(fleet: Fleet, **options: Any) -> VLLMPool:
    return VLLMPool(fleet.endpoints, "sim", 2, model_max_context=4096, **options)


@each_pattern
async def test_it_runs_over_few_connections_and_both_ends_agree(pattern: Pattern) -> None:
    seen: list[Progress] = []
    async with fleet_of() as fleet:
        async with pool_on(fleet, concurrency_per_agent=1) as pool:
            await pattern(pool, progress=seen.append)
            counted = pool.statistics()
            assert (counted.requests.failed, counted.requests.succeeded) == (0, fleet.ledger.requests)
            assert counted.connections.opened == fleet.ledger.opened
        fleet.assert_opened(at_most=SIZE)
        fleet.assert_all_closed(within="5s")
    done = [moment for moment in seen if moment.done == moment.total]
    assert sum(moment.total for moment in done) == len(seen) == fleet.ledger.requests


@each_pattern
async def test_on_a_view_it_asks_the_agents_of_that_view_alone(pattern: Pattern) -> None:
    async with fleet_of() as fleet, pool_on(fleet) as pool:
        await pattern(pool.slice(1, 4).select([0, 2]))
        assert [server.ledger.requests > 0 for server in fleet] == [False, True, False, True]


@each_pattern
async def test_an_empty_view_is_told_and_nothing_is_sent(pattern: Pattern) -> None:
    async with fleet_of() as fleet, pool_on(fleet) as pool:
        with pytest.raises(EmptyPool):
            await pattern(pool.by_tag("role", "nobody"))
        assert fleet.ledger.requests == 0


@each_pattern
async def test_a_closed_pool_is_told_and_opens_nothing(pattern: Pattern) -> None:
    async with fleet_of() as fleet:
        pool = pool_on(fleet)
        view = pool.slice(0, 2)
        await pool.close()
        for closed in (pool, view):
            with pytest.raises(PoolClosed):
                await pattern(closed)
        assert fleet.ledger.opened == 0


@each_pattern
async def test_a_pool_that_closes_in_the_middle_ends_it(pattern: Pattern) -> None:
    async with fleet_of() as fleet:
        with fleet.hold() as gate:
            pool = pool_on(fleet)
            task = asyncio.ensure_future(pattern(pool))
            await gate.wait_for(in_flight=SIZE)
            await pool.close(drain=0)
            [ended] = await asyncio.gather(task, return_exceptions=True)
        assert not isinstance(ended, asyncio.CancelledError)
        fleet.assert_all_closed(within="5s")


@each_pattern
@pytest.mark.parametrize("told", [False, True])
async def test_cancelled_in_the_middle_it_leaves_nothing_under_way(pattern: Pattern, told: bool) -> None:
    async with fleet_of() as fleet, pool_on(fleet) as pool:
        with fleet.hold() as gate:
            options = {"progress": lambda _: None} if told else {}
            task = asyncio.ensure_future(pattern(pool, **options))
            await gate.wait_for(in_flight=SIZE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            counted = pool.statistics()
            assert (counted.admission.in_flight, counted.admission.waiting) == (0, 0)
            await fleet.ledger.wait_for(in_flight=0)
        assert all(response.success for response in await broadcast(pool, "hi"))


@each_pattern
async def test_what_progress_raises_ends_it_and_is_passed_on(pattern: Pattern) -> None:
    def weary(moment: Progress) -> None:
        raise LookupError(f"enough of {moment.step}")

    async with fleet_of() as fleet, pool_on(fleet) as pool:
        with pytest.raises(LookupError, match="enough of"):
            await pattern(pool, progress=weary)
        counted = pool.statistics()
        assert (counted.admission.in_flight, counted.admission.waiting) == (0, 0)
        with pytest.raises(TypeError, match="progress must be"):
            await pattern(pool, progress="bar")
        assert all(response.success for response in await broadcast(pool, "hi"))


@each_pattern
async def test_several_may_run_at_once_on_one_tree(pattern: Pattern) -> None:
    async with fleet_of() as fleet, pool_on(fleet, concurrency=3) as pool:
        await asyncio.gather(pattern(pool), pattern(pool.slice(0, 2)), pattern(pool))
        assert fleet.ledger.peak_in_flight <= 3
        assert pool.statistics().requests.failed == 0


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(
    "care",
    [{"retry": Retry(pause=0.001)}, {"routing": LeastInFlight()}, {"health": Health()}],
    ids=lambda care: next(iter(care)),
)
async def test_a_broadcast_asks_every_agent_whatever_becomes_of_other_prompts(care: dict[str, Any], told: bool) -> None:
    """An agent that fails is in the result itself: no other answers in its place."""
    options: dict[str, Any] = {"progress": lambda _: None} if told else {}
    async with fleet_of() as fleet, pool_on(fleet, **care) as pool:
        with fleet[2].fault("unavailable"):
            responses = await broadcast(pool, "hi", **options)
            assert [response.tree_index for response in responses] == list(range(SIZE))
            assert [response.success for response in responses] == [True, True, False, True]
            assert [response.tree_index for response in await pool.broadcast_prompt("hi")] == list(range(SIZE))


async def test_prompts_that_any_agent_may_answer_survive_one_that_fails() -> None:
    async with fleet_of() as fleet, pool_on(fleet, retry=Retry()) as pool:
        with fleet[2].fault("unavailable"):
            responses = await scatter_gather(pool, ["hi"] * 2 * SIZE)
            answer = await tree_reduce(pool, "{item}", "{responses}", 2, range(9))
    assert all(response.success for response in responses)
    assert {response.tree_index for response in responses} == {0, 1, 3}
    assert answer.complete


async def test_prompts_for_one_agent_stay_with_it() -> None:
    async with fleet_of() as fleet, AgentPool(fleet.endpoints, retry=Retry(pause=0.001)) as pool:
        with fleet[2].fault("unavailable"):
            responses = await pool.post_batch(2, ["a", "b"])
        assert [(response.success, response.tree_index) for response in responses] == [(False, 2)] * 2
