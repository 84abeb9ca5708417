"""What all patterns do with templates, arguments and progress."""

from __future__ import annotations

from typing import Any

import pytest
from echoing import echoing
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.patterns.steps import Manner, checked_items, checked_template, fill
from swarmpool.progress import Progress


def test_placeholders_are_replaced_and_other_braces_left_alone() -> None:
    assert fill('{item}: {"a": {item}, {x} {0} {}} {item!r}', item=7) == '7: {"a": 7, {x} {0} {}} {item!r}'


@given(st.text(), st.text())
def test_what_is_filled_in_is_not_read_again(first: str, second: str) -> None:
    """Else an answer with {level} in it would change on its way to the next agent."""
    assert fill("<{responses}|{level}>", responses=f"{first}{{level}}", level=second) == f"<{first}{{level}}|{second}>"


def test_a_template_without_its_placeholder_is_told() -> None:
    with pytest.raises(ValueError, match=r"reduce_prompt must have {responses} in it, not be 'Sum up!'"):
        checked_template("reduce_prompt", "Sum up!", "responses")
    with pytest.raises(TypeError, match="reduce_prompt must be text, not NoneType"):
        checked_template("reduce_prompt", None, "responses")


@pytest.mark.parametrize("items", ["abc", b"xyz", 7, None])
def test_items_are_a_collection_that_is_not_one_text(items: Any) -> None:
    with pytest.raises(TypeError, match="items must be a collection, not "):
        checked_items("items", items)


@pytest.mark.parametrize("name", ["max_tokens", "max_tokens_aggregation"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_tokens_are_checked_before_anything_is_sent(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name} must be"):
        Manner(**{name: value})


async def test_results_are_in_order_whether_progress_is_told_or_not() -> None:
    prompts = [f"prompt {number}" for number in range(7)]
    seen: list[Progress] = []
    async with echoing(2) as (_, pool):
        plain = await Manner().ask(pool, prompts, "step")
        told = await Manner(seen.append).ask(pool, prompts, "step")
        assert [response.text for response in told] == [response.text for response in plain] == prompts
        assert [response.agent_index for response in told] == [0, 1, 0, 1, 0, 1, 0]
    assert seen == [Progress("step", done, 7, 0) for done in range(1, 8)]


async def test_tokens_and_sampling_go_into_the_requests_they_are_for() -> None:
    async with echoing(1, max_tokens=10, max_tokens_aggregation=30) as ([agent], pool):
        for manner in (Manner(), Manner(max_tokens=7, max_tokens_aggregation=9, sampling={"temperature": 0.5})):
            await manner.ask(pool, ["a"], "step")
            await manner.aggregate(pool, ["a"], "step")
    assert [(body["max_tokens"], body.get("temperature")) for body in agent.sent] == [
        (10, None),
        (30, None),
        (7, 0.5),
        (9, 0.5),
    ]


async def test_an_answer_that_merges_has_no_more_tokens_than_the_context_leaves() -> None:
    async with echoing(1, model_max_context=1000, buffer=100, max_tokens_aggregation=800) as ([agent], pool):
        await Manner().aggregate(pool, ["x" * 2000], "step")
    assert agent.sent[0]["max_tokens"] == 1000 - 500 - 100
