"""`VLLMPool`: what it sends, how many tokens it asks for, how batches are dealt and put together, what stays secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, eventually, http
from vllm_agent import VLLMAgent, chat_answer, models_answer

from fleetsim.fleet import Fleet
from swarmpool import AgentPool, BadIndex, FailureKind, PoolClosed, QueueTimeout, VLLMPool

CHAT, BATCH, MODELS = "/v1/chat/completions", "/v1/completions", "/v1/models"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("SWARMPOOL_", "AURORA_SWARM_"):
        for name in ("MAX_TOKENS", "MAX_TOKENS_AGGREGATION", "MODEL_MAX_CONTEXT", "TIMEOUT_PER_SEQUENCE"):
            monkeypatch.delenv(prefix + name, raising=False)


@asynccontextmanager
async def pool_of(number: int = 1, **options: Any) -> AsyncIterator[tuple[VLLMAgent, VLLMPool]]:
    """A pool whose agents are one server, which knows its model and context unless told otherwise."""
    known = {"model": "sim", "model_max_context": 4096, **options}
    async with VLLMAgent() as agent, VLLMPool([agent.endpoint] * number, **known) as pool:
        yield agent, pool


# --------------------------------------------------------------------------------------------------------------- chat


async def test_a_prompt_is_a_chat_of_one_message() -> None:
    async with pool_of() as (agent, pool):
        response = await pool.post(0, "hi", 7)
        assert (response.text, response.finish_reason) == ("hi", "stop")
        assert response.usage is not None
        assert (response.usage.prompt_tokens, response.usage.completion_tokens, response.usage.total_tokens) == (
            2,
            3,
            5,
        )
        assert agent.sent == [{"model": "sim", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 7}]
        assert agent.paths == [CHAT]


async def test_messages_go_as_they_are_and_a_prompt_behind_them() -> None:
    talk = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    async with pool_of() as (agent, pool):
        await pool.post(0, "and now?", messages=talk)
        await pool.post(0, None, messages=talk)
        await pool.post(0, "", messages=talk)
        assert agent.sent[0]["messages"] == [*talk, {"role": "user", "content": "and now?"}]
        assert agent.sent[1]["messages"] == agent.sent[2]["messages"] == talk
        responses = await pool.send_all(["a", "b"], messages=talk[:1])
        assert [response.text for response in responses] == ["a", "b"]
        assert all(body["messages"][0] == talk[0] for body in agent.sent[3:])


@pytest.mark.parametrize("arguments", [(None, None), (None, []), (7, None), ("hi", ["hello"])])
async def test_a_conversation_that_cannot_be_is_misuse_and_sends_nothing(arguments: tuple[Any, Any]) -> None:
    prompt, messages = arguments
    async with pool_of() as (agent, pool):
        with pytest.raises((TypeError, ValueError), match=r"prompt|messages"):
            await pool.post(0, prompt, messages=messages)
        assert agent.paths == []


async def test_a_chat_answer_without_text_is_an_answer() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(chat_answer(None, "tool_calls"))

    async with RawAgent(respond) as agent, VLLMPool([agent.endpoint], "sim", model_max_context=99) as pool:
        response = await pool.post(0, "hi")
        assert (response.success, response.text, response.finish_reason) == (True, "", "tool_calls")


async def test_an_empty_choice_list_or_another_shape_is_of_kind_shape() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(http(answers.pop()))

    answers = [b'{"choices":[]}', b'{"choices":[{"index":0}]}', b'{"choices":[{"message":{"content":7}}]}', b"[]"]
    async with RawAgent(respond) as agent, VLLMPool([agent.endpoint], "sim", model_max_context=99) as pool:
        while answers:
            assert (await pool.post(0, "hi")).kind is FailureKind.SHAPE


# ----------------------------------------------------------------------------------------------------- how many tokens


@pytest.mark.parametrize(
    ("options", "length", "asked"),
    [
        ({}, 4, 512),
        ({"max_tokens": 100}, 4, 100),
        ({"max_tokens": 0}, 4, 0),
        ({"max_tokens": 9_999}, 400, 4096 - 100 - 512),
        ({"max_tokens": 9_999}, 403, 4096 - 100 - 512),
        ({"max_tokens": 9_999, "buffer": 0}, 400, 4096 - 100),
        ({"max_tokens": 9_999}, 100_000, 128),
        ({"max_tokens": 64}, 100_000, 64),
        ({"model_max_context": 100}, 4, 128),
    ],
)
async def test_without_a_number_the_answer_may_have_what_the_context_leaves(
    options: dict[str, Any], length: int, asked: int
) -> None:
    """min(default, max(128, context - characters // 4 - buffer))"""
    async with pool_of(**options) as (agent, pool):
        await pool.post(0, "x" * length)
        assert agent.sent[-1]["max_tokens"] == asked


async def test_the_context_is_the_servers_unless_it_is_given() -> None:
    async with pool_of(model=None, model_max_context=None, max_tokens=9_999) as (agent, pool):
        agent.models = models_answer("mistral", 2_000)
        await pool.post(0, "hi")
        assert (agent.sent[-1]["model"], agent.sent[-1]["max_tokens"]) == ("mistral", 2_000 - 512)
    async with pool_of(model=None, model_max_context=1_000, max_tokens=9_999) as (agent, pool):
        await pool.post(0, "hi")
        assert agent.sent[-1]["max_tokens"] == 1_000 - 512
    async with pool_of(model=None, model_max_context=None, max_tokens=999_999) as (agent, pool):
        agent.models = models_answer("mistral", None)
        await pool.post(0, "hi")
        assert agent.sent[-1]["max_tokens"] == 131_072 - 512


async def test_all_messages_of_a_conversation_count() -> None:
    async with pool_of(max_tokens=9_999, buffer=0) as (agent, pool):
        await pool.post(0, "x" * 40, messages=[{"role": "system", "content": "y" * 40}])
        assert agent.sent[-1]["max_tokens"] == 4096 - 20


async def test_an_explicit_number_is_sent_as_it_is() -> None:
    async with pool_of() as (agent, pool):
        for number in (0, 1, 10**9):
            await pool.post(0, "hi", number)
            await pool.post_batch(0, ["hi"], number)
            assert [body["max_tokens"] for body in agent.sent[-2:]] == [number, number]


@pytest.mark.parametrize("prefix", ["SWARMPOOL_", "AURORA_SWARM_"])
def test_defaults_come_from_the_environment_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    nobody = [("127.0.0.1", 1)]
    assert (VLLMPool(nobody).max_tokens, VLLMPool(nobody).max_tokens_aggregation) == (512, 1024)
    monkeypatch.setenv(prefix + "MAX_TOKENS", "77")
    assert (VLLMPool(nobody).max_tokens, VLLMPool(nobody).max_tokens_aggregation) == (77, 154)
    assert (VLLMPool(nobody, max_tokens=0).max_tokens, VLLMPool(nobody, max_tokens=9).max_tokens_aggregation) == (0, 18)
    monkeypatch.setenv(prefix + "MAX_TOKENS_AGGREGATION", "5")
    assert VLLMPool(nobody).max_tokens_aggregation == 5
    monkeypatch.setenv(prefix + "MAX_TOKENS", "lots")
    with pytest.raises(ValueError, match=f"{prefix}MAX_TOKENS must be a number, not 'lots'"):
        VLLMPool(nobody)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model", ""),
        ("model", 7),
        ("max_tokens", -1),
        ("max_tokens_aggregation", "many"),
        ("model_max_context", 0),
        ("buffer", -1),
        ("use_batch", 1),
        ("batch_concurrency", 0),
        ("timeout_per_sequence", 0),
        ("batch_timeout_cap", -5),
        ("sampling", "hot"),
        ("api_key", 5),
        ("api_key", ""),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=option):
        VLLMPool([("127.0.0.1", 1)], **{option: value})


# ------------------------------------------------------------------------------------------------------------ sampling


async def test_what_a_call_adds_goes_before_what_the_pool_always_sends() -> None:
    async with pool_of(sampling={"temperature": 0.2, "top_p": 0.9}) as (agent, pool):
        await pool.post(0, "hi", temperature=0.7)
        await pool.post_batch(0, ["hi"], top_p=0.5)
        await pool.stream(0, "hi", seed=3)
        first, second, third = agent.sent
        assert (first["temperature"], first["top_p"]) == (0.7, 0.9)
        assert (second["temperature"], second["top_p"]) == (0.2, 0.5)
        assert (third["temperature"], third["seed"], third["stream"]) == (0.2, 3, True)


async def test_a_calls_max_tokens_goes_before_the_pools_sampling() -> None:
    """The number given for one call used to lose against the one for all calls."""
    async with pool_of(sampling={"max_tokens": 5}) as (agent, pool):
        await pool.post(0, "hi")
        await pool.post(0, "hi", 7)
        await pool.post_batch(0, ["hi"], 8)
        assert [body["max_tokens"] for body in agent.sent] == [5, 7, 8]


# ------------------------------------------------------------------------------------------------------------- batches


async def test_a_batch_is_one_request_in_one_slot() -> None:
    async with pool_of(concurrency=1) as (agent, pool):
        responses = await pool.post_batch(0, ["a", "b", "c"], 9)
        assert [response.text for response in responses] == ["a", "b", "c"]
        assert [response.prompt_index for response in responses] == [0, 1, 2]
        assert all(response.finish_reason == "length" and response.success for response in responses)
        assert agent.sent == [{"model": "sim", "prompt": ["a", "b", "c"], "max_tokens": 9}]
        assert agent.paths == [BATCH]
        statistics = pool.statistics()
        assert (statistics.admission.attempts, statistics.requests.succeeded) == (1, 1)


async def test_answers_are_placed_by_their_index_and_a_missing_one_fails_alone() -> None:
    """Placing them by position swapped answers silently; one that was missing lost all the others (Aurora-Swarm)."""
    async with pool_of() as (agent, pool):
        agent.choices = lambda prompts: [  # type: ignore[method-assign]  # this server is odd
            {"index": 2, "text": "third"},
            {"index": 0, "text": "first"},
            {"index": 0, "text": "a second first"},
            {"index": 17, "text": "nobody's"},
        ]
        responses = await pool.post_batch(0, ["a", "b", "c"])
        assert [response.text for response in responses] == ["first", "", "third"]
        assert [response.kind for response in responses] == [None, FailureKind.MISSING, None]
        assert responses[1].status == 200
        assert "no entry for this prompt" in (responses[1].error or "")


async def test_a_batch_that_fails_as_a_whole_fails_each_of_its_prompts() -> None:
    refusal = http(b'{"error":{"message":"too long"}}', status="400 Bad Request")
    async with RawAgent(lambda connection: connection.write(refusal)) as agent:
        pool = VLLMPool([agent.endpoint], "sim", model_max_context=99)
        responses = await pool.post_batch(0, ["a", "b"])
        assert [(each.kind, each.status, each.prompt_index) for each in responses] == [
            (FailureKind.STATUS, 400, 0),
            (FailureKind.STATUS, 400, 1),
        ]
        assert pool.statistics().requests.failed == 1
        await pool.close()


async def test_prompts_are_dealt_round_robin_into_one_batch_for_each_agent() -> None:
    async with pool_of(3) as (agent, pool):
        responses = await pool.send_all_batched([f"p{number}" for number in range(8)], 4)
        assert [response.text for response in responses] == [f"p{number}" for number in range(8)]
        assert [response.agent_index for response in responses] == [number % 3 for number in range(8)]
        assert [response.prompt_index for response in responses] == list(range(8))
        assert sorted(body["prompt"] for body in agent.sent) == [["p0", "p3", "p6"], ["p1", "p4", "p7"], ["p2", "p5"]]
        assert {body["max_tokens"] for body in agent.sent} == {4}


async def test_more_prompts_than_one_request_may_have_are_several_requests() -> None:
    """vLLM answers 400 to more than 1,024 (VLLM_MAX_COMPLETION_PROMPTS)."""
    prompts = [str(number) for number in range(2_500)]
    async with pool_of(2) as (agent, pool):
        responses = await pool.post_batch(1, prompts)
        assert [response.text for response in responses] == prompts
        assert [len(body["prompt"]) for body in agent.sent] == [1024, 1024, 452]
        assert {response.agent_index for response in responses} == {1}
        agent.sent.clear()
        assert [response.text for response in await pool.send_all_batched(iter(prompts))] == prompts
        assert sorted(len(body["prompt"]) for body in agent.sent) == [226, 226, 1024, 1024]


async def test_no_prompts_are_no_requests() -> None:
    async with pool_of() as (agent, pool):
        assert await pool.post_batch(0, []) == []
        assert await pool.send_all_batched([]) == []
        with pytest.raises(BadIndex):
            await pool.post_batch(1, [])
        with pytest.raises(TypeError, match=r"prompts\[1\] must be text, not int"):
            await pool.send_all_batched(["a", 7])  # type: ignore[list-item]  # that is the point
        assert agent.paths == []


async def test_without_batches_every_prompt_is_a_chat_and_the_arguments_are_passed_on() -> None:
    """The fallback used to drop max_tokens (Aurora-Swarm)."""
    async with pool_of(2, use_batch=False) as (agent, pool):
        responses = await pool.send_all_batched(["a", "b", "c"], 6, temperature=0)
        assert [response.text for response in responses] == ["a", "b", "c"]
        assert agent.paths == [CHAT] * 3
        assert all(body["max_tokens"] == 6 and body["temperature"] == 0 for body in agent.sent)


async def test_a_batch_raises_like_a_single_call_and_is_a_result_among_many() -> None:
    async with pool_of(concurrency=1, queue_timeout=0.02) as (agent, pool):
        async with pool._semaphore:
            with pytest.raises(QueueTimeout):
                await pool.post_batch(0, ["a"])
            assert [each.kind for each in await pool.send_all_batched(["a", "b"])] == [FailureKind.QUEUE_TIMEOUT] * 2
        await pool.close()
        with pytest.raises(PoolClosed):
            await pool.post_batch(0, ["a"])
        assert agent.paths == []


async def test_the_time_limit_of_a_batch_grows_with_its_waves() -> None:
    """max(timeout, ceil(prompts / batch_concurrency) * timeout_per_sequence), at most batch_timeout_cap."""

    async def seconds_of(prompts: int, **options: Any) -> float:
        async with RawAgent(lambda _: None) as agent:
            pool = VLLMPool([agent.endpoint], "sim", model_max_context=99, timeout=0.05, batch_concurrency=2, **options)
            (first, *_) = await pool.post_batch(0, ["x"] * prompts)
            await pool.close()
            assert first.kind is FailureKind.TIMEOUT
            return first.wire_seconds

    assert await seconds_of(4, timeout_per_sequence=0.01) >= 0.05
    assert await seconds_of(6, timeout_per_sequence=0.10) >= 0.30
    assert await seconds_of(6, timeout_per_sequence=40.0, batch_timeout_cap=0.10) >= 0.10


async def test_cancelling_a_batch_gives_its_slot_back() -> None:
    async with RawAgent(lambda _: None) as agent:
        pool = VLLMPool([agent.endpoint] * 3, "sim", model_max_context=99, concurrency=2)
        work = asyncio.create_task(pool.send_all_batched(["a"] * 9))
        await eventually(lambda: len(agent.requests) == 2)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert pool.statistics().admission.in_flight == 0
        assert pool.statistics().requests.cancelled == 2
        await pool.close()


# ------------------------------------------------------------------------------------------------- one session, secrets


async def test_chats_batches_streams_and_metadata_share_one_connection() -> None:
    async with pool_of(model=None, model_max_context=None, concurrency=1) as (agent, pool):
        await pool.post(0, "hi")
        await pool.post_batch(0, ["a", "b"])
        await pool.stream(0, "hi")
        await pool.slice(0, 1).send_all_batched(["c"])
        assert agent.paths == [MODELS, CHAT, BATCH, CHAT, BATCH]
        assert agent.opened == 1
        assert pool.statistics().connections.reused == 4


async def test_the_api_key_goes_with_every_request_and_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    key = "sk-very-secret"
    async with pool_of(model=None, api_key=key, headers={"x-job": "17"}) as (agent, pool):
        await pool.post(0, "hi")
        await pool.post_batch(0, ["a"])
        await pool.stream(0, "hi")
        assert agent.paths == [MODELS, CHAT, BATCH, CHAT]
        assert all(f"authorization: bearer {key}".encode() in head.lower() for head in agent.heads)
        assert all(b"x-job: 17" in head.lower() for head in agent.heads)
        agent.respond = lambda connection: connection.write(http(b"nonsense", status="500 Oh"))
        failed = await pool.post(0, "hi")
        shown = [repr(pool), repr(pool.slice(0, 1)), repr(pool.statistics()), repr(failed), str(failed.error)]
        shown += [repr(pool._tree.options), repr(pool._vllm), pool._tree.name, caplog.text]
        assert key not in " ".join(shown)
    for wrong in (f"{key}\n", f"{key}\N{SNOWMAN}"):
        with pytest.raises(ValueError, match="api_key must be printable ASCII text") as caught:
            VLLMPool([("127.0.0.1", 1)], api_key=wrong)
        assert key not in str(caught.value)


async def test_without_an_api_key_no_authorization_is_sent() -> None:
    async with pool_of() as (agent, pool):
        await pool.post(0, "hi")
        assert b"authorization" not in agent.heads[0].lower()


async def test_views_of_a_vllm_pool_send_as_their_root_does() -> None:
    async with pool_of(4, sampling={"top_k": 3}, max_tokens=11) as (agent, pool):
        view = pool.select([3, 1]).slice(0, 1)
        assert isinstance(view, VLLMPool)
        response = await view.post(0, "hi")
        assert (response.agent_index, response.tree_index) == (0, 3)
        assert (agent.sent[0]["top_k"], agent.sent[0]["max_tokens"]) == (3, 11)
        assert (view.model, view.max_tokens, view.max_tokens_aggregation) == ("sim", 11, 22)


# ------------------------------------------------------------------------------------------------ with the fleet's vLLM


async def test_a_whole_conversation_with_servers_that_answer_like_vllm() -> None:
    async with Fleet(3, seed=1) as fleet, VLLMPool(fleet.endpoints, concurrency=8) as pool:
        single = await pool.post(0, "hi", 5)
        batch = await pool.post_batch(1, ["a", "b", "c"], 3)
        many = await pool.send_all_batched([f"p{number}" for number in range(10)], 3)
        chunks = [chunk async for chunk in pool.stream(2, "hi", 4)]
        assert all(response.success for response in [single, *batch, *many])
        assert single.usage is not None
        assert single.usage.completion_tokens == 5
        assert chunks[-1].response is not None
        assert chunks[-1].response.usage is not None
        assert sum(chunk.tokens for chunk in chunks) == chunks[-1].response.usage.completion_tokens == 4
        assert [response.text for response in await pool.post_batch(0, ["a", "b", "c"], 3)] == [
            response.text for response in batch
        ]
        await pool.close()
        await fleet.ledger.wait_for(open_now=0)
        connections = pool.statistics().connections
        assert (fleet.ledger.opened, fleet.ledger.reused) == (connections.opened, connections.reused)


async def test_a_plain_pool_speaks_the_fleets_generate_too() -> None:
    async with Fleet(1, seed=1) as fleet, AgentPool(fleet.endpoints) as pool:
        response = await pool.post(0, "hi", 4)
        assert response.success, json.dumps(str(response))
        assert response.text
