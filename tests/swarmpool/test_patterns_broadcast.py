"""One prompt to all, and one answer made of theirs, with what is missing from it."""

from __future__ import annotations

import pytest
from echoing import echoing, prompts_of

from fleetsim import Fleet
from swarmpool import BadIndex, EmptyPool, FailureKind, VLLMPool
from swarmpool.patterns.broadcast import broadcast, broadcast_and_reduce
from swarmpool.progress import Progress


async def test_every_agent_is_asked_and_results_are_in_their_order() -> None:
    async with echoing(3) as (agents, pool):
        responses = await broadcast(pool, "hi", max_tokens=5, temperature=0.1)
        assert [(response.text, response.agent_index) for response in responses] == [("hi", 0), ("hi", 1), ("hi", 2)]
        for agent in agents:
            [body] = agent.sent
            assert (body["max_tokens"], body["temperature"]) == (5, 0.1)


async def test_answers_are_joined_for_the_reducer_and_its_answer_is_the_result() -> None:
    async with echoing(3) as (agents, pool):
        result = await broadcast_and_reduce(pool, "{hi}", "merge:\n{responses}\nend", 2)
        assert result.text == "merge:\n{hi}\n---\n{hi}\n---\n{hi}\nend"
        assert (result.success, result.agent_index, result.tree_index, result.prompt_index) == (True, 2, 2, None)
        assert (result.asked, result.covered, result.complete, result.failures) == (3, 3, True, ())
        assert [len(prompts_of(agent)) for agent in agents] == [1, 1, 2]


async def test_the_reducer_may_write_more_than_the_others() -> None:
    async with echoing(1, max_tokens=10, max_tokens_aggregation=30) as ([agent], pool):
        await broadcast_and_reduce(pool, "hi", "{responses}")
        await broadcast_and_reduce(pool, "hi", "{responses}", max_tokens=5, max_tokens_aggregation=6)
        assert [body["max_tokens"] for body in agent.sent] == [10, 30, 5, 6]


async def test_agents_that_fail_are_in_the_result() -> None:
    seen: list[Progress] = []
    async with Fleet(4) as fleet, VLLMPool(fleet.endpoints, "sim", model_max_context=4096, max_tokens=2) as pool:
        with fleet[1].fault("unavailable"), fleet[3].fault("reset"):
            result = await broadcast_and_reduce(pool, "hi", "{responses}", progress=seen.append)
    assert (result.success, result.complete, result.asked, result.covered) == (True, False, 4, 2)
    assert [failure.agent_index for failure in result.failures] == [1, 3]
    assert result.failures[0].status == 503
    assert seen[-2:] == [Progress("broadcast", 4, 4, 2), Progress("reduce", 1, 1, 0)]


async def test_if_nobody_answers_nothing_is_merged() -> None:
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, "sim", model_max_context=4096, max_tokens=2) as pool:
        with fleet.fault("unavailable"):
            result = await broadcast_and_reduce(pool, "hi", "{responses}")
        assert (result.success, result.text, result.kind) == (False, "", FailureKind.STATUS)
        assert result.error is not None
        assert result.error.startswith("there is no success to merge among 2 responses (the first failure: status 503")
        assert (result.asked, result.covered, len(result.failures)) == (2, 0, 2)
        assert fleet.ledger.requests == 2


async def test_a_reducer_that_fails_is_a_failure_that_covers_nothing() -> None:
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, "sim", model_max_context=4096, max_tokens=2) as pool:
        fleet[1].script("ok", "unavailable")
        result = await broadcast_and_reduce(pool, "hi", "{responses}", 1)
        assert (result.success, result.status, result.agent_index) == (False, 503, 1)
        assert (result.asked, result.covered, result.complete, result.failures) == (2, 0, False, ())


async def test_a_reducer_that_is_none_is_told_before_anything_is_sent() -> None:
    async with echoing(2) as (agents, pool):
        for index in (2, -1):
            with pytest.raises(BadIndex):
                await broadcast_and_reduce(pool, "hi", "{responses}", index)
        with pytest.raises(EmptyPool):
            await broadcast_and_reduce(pool.slice(0, 0), "hi", "{responses}")
        with pytest.raises(ValueError, match=r"reduce_prompt must have {responses} in it"):
            await broadcast_and_reduce(pool, "hi", "merge")
        assert [agent.sent for agent in agents] == [[], []]
