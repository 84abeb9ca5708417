"""Answers merged in groups: which prompts go where, and what a group that fails takes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from echoing import echoing, prompts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_agent import RawAgent, RawConnection, http
from vllm_agent import chat_answer

from fleetsim import Fleet
from swarmpool import AgentPool, EmptyPool, FailureKind, VLLMPool
from swarmpool.patterns.tree_reduce import tree_reduce
from swarmpool.progress import Progress
from swarmpool.responses import Response

KNOWN: dict[str, Any] = {"model": "sim", "model_max_context": 100_000, "max_tokens": 2}


class OnPaper(AgentPool):
    """A pool that answers by itself; prompts with a word of `bad` in them fail."""

    bad: tuple[str, ...] = ()

    async def post(self, agent_index: int | None, prompt: str | None, *_: Any, **__: Any) -> Response:
        assert prompt is not None
        assert agent_index is not None
        if any(word in prompt.split() for word in self.bad):
            return Response(False, "", "no", agent_index, kind=FailureKind.STATUS)
        return Response(True, prompt, agent_index=agent_index)


async def test_leaves_are_merged_in_groups_until_one_text_is_left() -> None:
    seen: list[Progress] = []
    async with echoing(2) as (agents, pool):
        result = await tree_reduce(
            pool, "<{item}>", "{level}({responses})", 2, ["a", "b", "c", "d", "e"], progress=seen.append
        )
        first, second = "1(<a>\n---\n<b>)", "1(<c>\n---\n<d>)"
        assert result.text == f"3(2({first}\n---\n{second})\n---\n2(1(<e>)))"
        assert (result.success, result.asked, result.covered, result.complete) == (True, 5, 5, True)
        assert len(prompts_of(agents[0])) + len(prompts_of(agents[1])) == 5 + 3 + 2 + 1
        assert set(prompts_of(agents[0])) >= {"<a>", "<c>", "<e>", first, "1(<e>)"}
    assert [(moment.step, moment.total) for moment in seen if moment.done == moment.total] == [
        ("leaves", 5),
        ("level 1", 3),
        ("level 2", 2),
        ("level 3", 1),
    ]


async def test_without_items_every_agent_is_a_leaf() -> None:
    async with echoing(3) as (_, pool):
        result = await tree_reduce(pool, "{item}", "{responses}")
        assert result.text == "{item}\n---\n{item}\n---\n{item}"


async def test_what_is_in_an_answer_is_not_taken_for_a_placeholder() -> None:
    async with echoing(2) as (_, pool):
        result = await tree_reduce(pool, "{level}{responses}", "{level}: {responses}")
        assert result.text == "1: {level}{responses}\n---\n{level}{responses}"


async def test_one_leaf_needs_no_merging() -> None:
    async with echoing(2) as (agents, pool):
        result = await tree_reduce(pool, "{item}", "merge {responses}", items=["a"])
        assert (result.text, result.asked, result.covered) == ("a", 1, 1)
        assert prompts_of(agents[0]) + prompts_of(agents[1]) == ["a"]


async def test_merging_may_write_more_than_leaves() -> None:
    async with echoing(2, max_tokens=10, max_tokens_aggregation=30) as (agents, pool):
        await tree_reduce(pool, "hi", "{responses}")
        await tree_reduce(pool, "hi", "{responses}", max_tokens=4, max_tokens_aggregation=5)
        assert [body["max_tokens"] for body in agents[0].sent] == [10, 30, 4, 5]


async def test_leaves_that_fail_are_told_and_the_rest_is_merged() -> None:
    async with Fleet(4) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        with fleet[2].fault("unavailable", times=1):
            result = await tree_reduce(pool, "hi", "{responses}", 2)
        assert (result.success, result.complete, result.asked, result.covered) == (True, False, 4, 3)
        [failure] = result.failures
        assert (failure.agent_index, failure.status) == (2, 503)
        assert fleet.ledger.requests == 4 + 2 + 1


async def test_a_whole_group_that_fails_is_told_with_what_went_with_it() -> None:
    pool = OnPaper([("127.0.0.1", 9)] * 3)
    pool.bad = ("1:c",)
    result = await tree_reduce(pool, "{item}", "{level}:{responses}", 2, ["a", "b", "c", "d", "e"])
    assert (result.success, result.complete, result.asked, result.covered) == (True, False, 5, 3)
    [failure] = result.failures
    assert failure.error == "level 1, group 2 of 3, with the answers of 2 leaves: no"
    assert result.text == "2:1:a\n---\nb\n---\n1:e"


async def test_if_every_group_of_a_level_fails_there_is_no_answer() -> None:
    pool = OnPaper([("127.0.0.1", 9)] * 3)
    pool.bad = ("merge",)
    result = await tree_reduce(pool, "{item}", "merge {responses}", 2, ["a", "b", "c"])
    assert (result.success, result.text, result.asked, result.covered) == (False, "", 3, 0)
    assert result.error == "there is no success to merge among 2 responses (the first failure: no)"
    assert [str(failure.error).partition(",")[0] for failure in result.failures] == ["level 1", "level 1"]


async def test_if_no_leaf_answers_there_is_no_answer() -> None:
    async with Fleet(3) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        with fleet.fault("unavailable"):
            result = await tree_reduce(pool, "hi", "{responses}")
        assert (result.success, result.text, result.kind, len(result.failures)) == (False, "", FailureKind.STATUS, 3)
        assert fleet.ledger.requests == 3
        nothing = await tree_reduce(pool, "{item}", "{responses}", items=[])
        assert (nothing.success, nothing.asked) == (False, 0)
        assert nothing.error == "there is no success to merge among 0 responses"


@settings(max_examples=40)
@given(st.lists(st.booleans(), max_size=20), st.integers(2, 6))
async def test_every_leaf_is_in_the_text_once_or_among_the_failures(good: list[bool], fanin: int) -> None:
    pool = OnPaper([("127.0.0.1", 9)] * 3)
    pool.bad = tuple(f"leaf{number}." for number, fine in enumerate(good) if not fine)
    items = [f"leaf{number}." for number in range(len(good))]
    result = await tree_reduce(pool, "{item}", "{responses}", fanin, items)
    assert result.covered == sum(good)
    assert len(result.failures) == len(good) - sum(good)
    assert result.text.split("\n---\n") == [item for item, fine in zip(items, good, strict=True) if fine] or not any(
        good
    )
    assert result.success == any(good)


@pytest.mark.parametrize(("fanin", "error"), [(1, ValueError), (0, ValueError), (2.0, TypeError), (True, TypeError)])
async def test_a_group_has_two_answers_at_least(fanin: Any, error: type[Exception]) -> None:
    """Groups of one would be merged for ever."""
    async with echoing(2) as (agents, pool):
        with pytest.raises(error, match="fanin must be"):
            await tree_reduce(pool, "hi", "{responses}", fanin)
        with pytest.raises(TypeError, match="items must be a collection"):
            await tree_reduce(pool, "hi", "{responses}", items="abc")
        with pytest.raises(EmptyPool):
            await tree_reduce(pool.slice(0, 0), "hi", "{responses}")
        assert agents[0].sent == []


async def test_answers_that_come_in_another_order_are_merged_in_their_own() -> None:
    held: list[RawConnection] = []

    def respond(connection: RawConnection) -> None:
        held.append(connection)
        if len(held) == 3:
            for waiting in reversed(held):
                waiting.write(chat_answer(json.loads(waiting.requests[-1])["messages"][-1]["content"]))
        elif len(held) == 4:
            text = json.loads(connection.requests[-1])["messages"][-1]["content"]
            connection.write(chat_answer(text) if "---" in text else http(b"", status="500 Oh"))

    async with RawAgent(respond) as agent, VLLMPool([agent.endpoint], **KNOWN) as pool:
        result = await tree_reduce(pool, "{item}", "{responses}", items=[1, 2, 3])
        assert result.text == "1\n---\n2\n---\n3"
