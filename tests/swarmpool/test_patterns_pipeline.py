"""Stages: whose agents they have, what flows from one to the next, and what stops them."""

from __future__ import annotations

from typing import Any

import pytest
from echoing import echoing, prompts_of

from fleetsim import Fleet
from swarmpool import EmptyPool, FailureKind, RequestFailed, Response, VLLMPool
from swarmpool.patterns.pipeline import Stage, fan_out_fan_in, run_pipeline, run_stages
from swarmpool.progress import Progress

KNOWN: dict[str, Any] = {"model": "sim", "model_max_context": 4096, "max_tokens": 2}


async def test_the_output_of_a_stage_is_the_input_of_the_next() -> None:
    seen: list[Progress] = []
    async with echoing(3) as (agents, pool):
        stages = [Stage("draft", "draft({input})", 2), Stage("edit", "edit({input})", 1)]
        output = await run_pipeline(pool, stages, "{input}", progress=seen.append, max_tokens=5)
        assert output == "edit(draft({input})\ndraft({input}))"
        assert [len(prompts_of(agent)) for agent in agents] == [2, 1, 0]
        assert agents[0].sent[0]["max_tokens"] == 5
    assert [(moment.step, moment.total) for moment in seen] == [("draft", 2), ("draft", 2), ("edit", 1)]


async def test_stages_may_have_agents_of_their_own() -> None:
    async with echoing(4) as (agents, pool):
        stages = [Stage("a", "a{input}", 2), Stage("b", "b{input}", 1), Stage("c", "c{input}", 5)]
        await run_pipeline(pool, stages, "", reuse_agents=False)
        assert [[prompt[0] for prompt in prompts_of(agent)] for agent in agents] == [["a"], ["a"], ["b"], ["c"]]


async def test_a_stage_that_no_agent_is_left_for_is_told_before_anything_is_sent() -> None:
    async with echoing(2) as (agents, pool):
        stages = [Stage("a", "a{input}", 2), Stage("b", "b{input}", 1)]
        with pytest.raises(EmptyPool, match=r"stages\[1\] \('b'\) has no agent: the view has 2 for all stages"):
            await run_pipeline(pool, stages, "", False)
        with pytest.raises(EmptyPool):
            await run_pipeline(pool.slice(0, 0), stages, "")
        assert agents[0].sent == []


async def test_a_filter_goes_before_the_transform_and_both_see_failures() -> None:
    def transform(responses: list[Response]) -> list[bool]:
        return [response.success for response in responses]

    async with Fleet(3) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        with fleet[0].fault("unavailable"):
            everything = Stage("a", "hi", 3, transform)
            chosen = Stage("b", "hi", 3, transform, lambda response: response.agent_index < 2)
            assert await run_pipeline(pool, [everything], None) == [False, True, True]
            assert await run_pipeline(pool, [chosen], None) == [False, True]
            assert await run_pipeline(pool, [Stage("c", "hi", 3, None, lambda _: False)], None) == ""


async def test_failures_on_the_way_are_told_by_stage() -> None:
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        fleet[1].script("unavailable", "ok")
        result = await run_stages(pool, [Stage("a", "{input}", 2), Stage("b", "{input}", 2)], "hi")
        assert result.stopped is None
        assert [(stage.name, [one.success for one in stage.responses]) for stage in result.stages] == [
            ("a", [True, False]),
            ("b", [True, True]),
        ]
        assert result.output == result.stages[1].output == "\n".join(one.text for one in result.stages[1].responses)
        [failure] = result.failures
        assert str(failure.error).startswith("stage 'a': status 503")


async def test_a_stage_in_which_nobody_answers_stops_the_pipeline() -> None:
    stages = [Stage("a", "{input}", 2), Stage("b", "{input}", 2)]
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        with fleet.fault("unavailable"):
            result = await run_stages(pool, stages, "hi")
            assert fleet.ledger.requests == 2
            with pytest.raises(RequestFailed) as caught:
                await run_pipeline(pool, stages, "hi")
    assert result.output is None
    assert len(result.stages) == 1
    assert len(result.failures) == 2
    for stopped in (result.stopped, caught.value.response):
        assert isinstance(stopped, Response)
        assert (stopped.success, stopped.kind) == (False, FailureKind.STATUS)
        assert str(stopped.error).startswith(
            "stage 'a': there is no success to go on with among 2 responses (the first"
        )


async def test_no_stages_leave_the_input_as_it_is() -> None:
    async with echoing(1) as (_, pool):
        assert await run_pipeline(pool, [], 7) == 7


@pytest.mark.parametrize(
    ("stages", "error", "message"),
    [
        (["a"], TypeError, r"stages\[0\] must be a Stage, not str"),
        ([Stage("a", "{input}", 0)], ValueError, r"stages\[0\].n_agents must be at least 1, not 0"),
        ([Stage("a", None, 1)], TypeError, r"stages\[0\].prompt_template must be text"),  # type: ignore[arg-type]
        (None, TypeError, "stages must be a collection"),
    ],
)
async def test_stages_are_checked_before_anything_is_sent(stages: Any, error: type[Exception], message: str) -> None:
    async with echoing(1) as ([agent], pool):
        with pytest.raises(error, match=message):
            await run_pipeline(pool, stages, "hi")
        assert agent.sent == []


async def test_workers_are_the_first_agents_and_the_collector_is_agent_0() -> None:
    seen: list[Progress] = []
    async with echoing(3, max_tokens=10, max_tokens_aggregation=30) as (agents, pool):
        result = await fan_out_fan_in(pool, "hi", "all: {responses}", 2, progress=seen.append)
        assert (result.text, result.agent_index, result.asked, result.covered) == ("all: hi\n---\nhi", 0, 2, 2)
        assert [[body["max_tokens"] for body in agent.sent] for agent in agents] == [[10, 30], [10], []]
        assert (await fan_out_fan_in(pool, "hi", "{responses}")).asked == 3
    assert [moment.step for moment in seen] == ["fan out", "fan out", "fan in"]


async def test_workers_that_fail_are_in_the_result() -> None:
    async with Fleet(3) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        with fleet[2].fault("unavailable"):
            result = await fan_out_fan_in(pool, "hi", "{responses}")
            assert (result.success, result.complete, result.covered) == (True, False, 2)
            assert [failure.agent_index for failure in result.failures] == [2]
            nothing = await fan_out_fan_in(pool.select([2]), "hi", "{responses}")
            assert (nothing.success, nothing.covered, len(nothing.failures)) == (False, 0, 1)


async def test_workers_and_collectors_must_be_there() -> None:
    async with echoing(1) as ([agent], pool):
        with pytest.raises(EmptyPool):
            await fan_out_fan_in(pool.slice(0, 0), "hi", "{responses}")
        with pytest.raises(ValueError, match="n_workers must be at least 1, not 0"):
            await fan_out_fan_in(pool, "hi", "{responses}", 0)
        with pytest.raises(ValueError, match=r"collect_prompt must have {responses} in it"):
            await fan_out_fan_in(pool, "hi", "collect")
        assert agent.sent == []
