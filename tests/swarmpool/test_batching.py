from __future__ import annotations

import json
from typing import Any

import pytest
from fake_exchange import an_exchange
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.batching import BATCH_LIMIT, batch_results, batch_seconds, deal
from swarmpool.delivery import of_all
from swarmpool.exchange import Outcome, WireFailure
from swarmpool.options import VLLMOptions
from swarmpool.responses import FailureKind


def options(**changes: Any) -> VLLMOptions:
    values: dict[str, Any] = {
        "model": None,
        "max_tokens": 1,
        "max_tokens_aggregation": 1,
        "model_max_context": 1,
        "buffer": 0,
        "use_batch": True,
        "batch_concurrency": 256,
        "timeout_per_sequence": 60.0,
        "batch_timeout_cap": None,
        "sampling": {},
    }
    return VLLMOptions(**{**values, **changes})


def completions(*choices: tuple[int, str]) -> bytes:
    entries = [{"index": index, "text": text, "finish_reason": "stop"} for index, text in choices]
    return json.dumps({"choices": entries}).encode()


# ------------------------------------------------------------------------------------------------ dealing


def test_prompts_are_dealt_in_turn() -> None:
    assert [list(batch) for batch in deal(7, 3)] == [[0, 3, 6], [1, 4], [2, 5]]
    assert deal(0, 3) == []
    assert [list(batch) for batch in deal(2, 5)] == [[0], [1]]


@given(prompts=st.integers(0, 9_000), agents=st.integers(1, 7), limit=st.just(BATCH_LIMIT) | st.integers(1, 40))
def test_each_prompt_is_in_one_batch_of_its_agent_and_no_batch_is_too_long(
    prompts: int, agents: int, limit: int
) -> None:
    batches = deal(prompts, agents, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(prompts))
    for number, batch in enumerate(batches):
        assert 1 <= len(batch) <= limit
        assert {index % agents for index in batch} == {number % agents}


# ------------------------------------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("prompts", "timeout", "cap", "limit"),
    [
        (1, 300.0, None, 300.0),  # one wave is shorter than the timeout
        (256, 10.0, None, 60.0),
        (257, 10.0, None, 120.0),
        (1024, 10.0, None, 240.0),
        (1024, 10.0, 100.0, 100.0),
        (1, 300.0, 100.0, 100.0),
        (1024, None, None, None),  # no timeout at all
        (1024, None, 100.0, 100.0),
    ],
)
def test_the_time_limit_grows_by_waves_up_to_the_cap(
    prompts: int, timeout: float | None, cap: float | None, limit: float | None
) -> None:
    assert batch_seconds(options(batch_timeout_cap=cap), timeout, prompts) == limit


# ------------------------------------------------------------------------------------------------ results


def test_each_prompt_has_its_own_result() -> None:
    outcome = Outcome(status=200, body=completions((1, "b"), (0, "a")))
    results = batch_results(2, an_exchange(), outcome, range(5, 11, 5))
    assert of_all(results).kind is None
    assert [(r.success, r.text, r.prompt_index, r.finish_reason) for r in results] == [
        (True, "a", 5, "stop"),
        (True, "b", 10, "stop"),
    ]
    assert {(r.agent_index, r.tree_index, r.status, r.attempts, r.wire_seconds) for r in results} == {
        (2, 7, 200, 1, 1.5)
    }


def test_a_missing_answer_fails_its_prompt_alone() -> None:
    outcome = Outcome(status=200, body=completions((0, "a"), (2, "c")))
    results = batch_results(0, an_exchange(), outcome, range(3))
    assert of_all(results).kind is None
    assert [r.kind for r in results] == [None, FailureKind.MISSING, None]
    assert results[1].error == "the answer to the batch has no entry for this prompt"


def test_an_answer_without_any_of_the_prompts_is_a_failed_request() -> None:
    outcome = Outcome(status=200, body=completions((7, "stray")))
    results = batch_results(0, an_exchange(), outcome, range(2))
    assert [r.kind for r in results] == [FailureKind.MISSING] * 2
    assert of_all(results).kind is FailureKind.MISSING


@pytest.mark.parametrize(
    ("outcome", "kind", "error"),
    [
        (Outcome(failure=WireFailure(FailureKind.RESET, "cut")), FailureKind.RESET, "cut"),
        (Outcome(status=429, body=b'{"error": "slow down"}'), FailureKind.STATUS, "status 429: slow down"),
        (Outcome(status=200, body=b"[]"), FailureKind.SHAPE, "the body is a JSON list, not an object"),
    ],
    ids=["wire", "status", "shape"],
)
def test_a_batch_that_fails_as_a_whole_fails_each_of_its_prompts(
    outcome: Outcome, kind: FailureKind, error: str
) -> None:
    results = batch_results(0, an_exchange(), outcome, range(3))
    assert of_all(results).kind is kind
    assert [(r.success, r.kind, r.error, r.prompt_index) for r in results] == [
        (False, kind, error, number) for number in range(3)
    ]
