"""Which model is served is asked once per tree, whoever asks first; a failure is nobody else's and soon forgotten."""

from __future__ import annotations

import asyncio

import pytest
from raw_agent import RawAgent, eventually, http
from vllm_agent import VLLMAgent, models_answer

from swarmpool import FailureKind, PoolClosed, QueueTimeout, TooManyWaiting, VLLMPool

MODELS = "/v1/models"
BROKEN = http(b'{"error":{"message":"still loading"}}', status="503 Service Unavailable")


async def test_fifty_first_callers_make_one_request() -> None:
    """Each of 50 first posts, and each new sub-pool, used to ask for itself (Aurora-Swarm)."""
    async with VLLMAgent(models=None) as agent, VLLMPool([agent.endpoint] * 50) as pool:
        callers = [asyncio.create_task(pool.post(index, "hi")) for index in range(25)]
        callers += [asyncio.create_task(pool.slice(index, 50).post(0, "hi")) for index in range(25)]
        await eventually(lambda: agent.held)
        for _ in range(20):
            await asyncio.sleep(0)
        assert agent.paths == [MODELS]
        agent.tell(models_answer("mistral"))
        assert all(response.success for response in await asyncio.gather(*callers))
        assert agent.paths.count(MODELS) == 1
        assert {body["model"] for body in agent.sent} == {"mistral"}
        await pool.by_tag("no", "tag").slice(0, 9).select([]).close()
        await pool.sample(3, seed=1).post(0, "hi")
        assert agent.paths.count(MODELS) == 1


async def test_what_needs_no_answer_asks_nothing() -> None:
    async with VLLMAgent() as agent:
        async with VLLMPool([agent.endpoint], model="mine", model_max_context=100) as pool:
            assert (await pool.post(0, "hi")).success
        async with VLLMPool([agent.endpoint], model="mine") as pool:
            assert (await pool.post(0, "hi", max_tokens=5)).success
        assert agent.paths == ["/v1/chat/completions"] * 2
        async with VLLMPool([agent.endpoint], model="mine") as pool:
            assert (await pool.post(0, "hi")).success
        assert agent.paths[2:] == [MODELS, "/v1/chat/completions"]


async def test_a_dead_agent_does_not_speak_for_the_tree() -> None:
    async with VLLMAgent(models=BROKEN) as dead, VLLMAgent() as alive:
        pool = VLLMPool([dead.endpoint, alive.endpoint])
        first, second = await pool.send_all(["hi", "hi"])
        assert (first.kind, first.endpoint) == (FailureKind.STATUS, dead.endpoint)
        assert first.error == "no model is known, as GET /v1/models failed: status 503: still loading"
        assert first.attempts == 0
        assert second.success
        assert (await pool.post(0, "now it is known")).success
        assert (dead.paths.count(MODELS), alive.paths.count(MODELS)) == (1, 1)
        await pool.close()


async def test_a_failure_is_remembered_for_a_moment_and_then_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be remembered for the pool's life (Aurora-Swarm)."""
    async with VLLMAgent(models=BROKEN) as agent, VLLMPool([agent.endpoint]) as pool:
        for _ in range(3):
            assert (await pool.post(0, "hi")).kind is FailureKind.STATUS
        assert agent.paths == [MODELS]
        agent.models = models_answer()
        clock = asyncio.get_running_loop().time
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + 3)
        assert (await pool.post(0, "hi")).success
        assert agent.paths == [MODELS, MODELS, "/v1/chat/completions"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (BROKEN, FailureKind.STATUS),
        (http(b"<html>"), FailureKind.SHAPE),
        (http(b'{"data":[]}'), FailureKind.SHAPE),
        (http(b'{"data":[{"id":7}]}'), FailureKind.SHAPE),
    ],
)
async def test_without_a_model_the_request_fails_with_the_reason_and_a_known_model_does_without(
    answer: bytes, kind: FailureKind
) -> None:
    async with VLLMAgent(models=answer) as agent:
        async with VLLMPool([agent.endpoint]) as pool:
            response = await pool.post(0, "hi")
            assert (response.kind, response.success) == (kind, False)
            assert (await pool.stream(0, "hi")).kind is kind
            assert [each.kind for each in await pool.post_batch(0, ["a", "b"])] == [kind] * 2
        async with VLLMPool([agent.endpoint], model="mine", max_tokens=200_000) as pool:
            assert (await pool.post(0, "hi")).success
            assert agent.sent[-1]["max_tokens"] == 131_072 - 512, "the context is taken to be 131072 where unknown"


async def test_a_get_is_sent_once_even_if_the_connection_is_closed_before_its_answer() -> None:
    async with RawAgent(lambda connection: connection.close()) as agent, VLLMPool([agent.endpoint]) as pool:
        assert (await pool.post(0, "hi")).kind is FailureKind.DISCONNECTED
        assert agent.opened == 1


async def test_a_first_caller_that_is_cancelled_spoils_nothing_for_the_others() -> None:
    async with VLLMAgent(models=None) as agent, VLLMPool([agent.endpoint] * 3) as pool:
        callers = [asyncio.create_task(pool.post(index, "hi")) for index in range(3)]
        await eventually(lambda: agent.held)
        callers[0].cancel()
        await asyncio.wait([callers[0]])
        assert callers[0].cancelled()
        agent.tell(models_answer())
        assert all(response.success for response in await asyncio.gather(*callers[1:]))
        assert agent.paths.count(MODELS) == 1


async def test_when_all_callers_are_cancelled_the_answer_is_kept_for_the_next() -> None:
    async with VLLMAgent(models=None) as agent, VLLMPool([agent.endpoint]) as pool:
        caller = asyncio.create_task(pool.post(0, "hi"))
        await eventually(lambda: agent.held)
        caller.cancel()
        await asyncio.wait([caller])
        agent.tell(models_answer())
        assert (await pool.post(0, "hi")).success
        assert agent.paths.count(MODELS) == 1


async def test_the_question_takes_a_slot_like_any_request() -> None:
    async with VLLMAgent(models=None) as agent, VLLMPool([agent.endpoint], concurrency=1) as pool:
        caller = asyncio.create_task(pool.post(0, "hi"))
        await eventually(lambda: agent.held)
        assert pool.statistics().admission.in_flight == 1
        agent.tell(models_answer())
        assert (await caller).success
        assert pool.statistics().admission.peak_in_flight == 1


async def test_a_pool_that_closes_while_it_is_asked_ends_it() -> None:
    async with VLLMAgent(models=None) as agent:
        pool = VLLMPool([agent.endpoint])
        single = asyncio.create_task(pool.post(0, "hi"))
        many = asyncio.create_task(pool.send_all(["hi"] * 3))
        await eventually(lambda: agent.held)
        await pool.close(drain=0)
        ended = (await asyncio.gather(single, return_exceptions=True))[0]
        assert isinstance(ended, PoolClosed) or ended.kind is FailureKind.CLOSED  # type: ignore[union-attr]  # either
        assert {response.kind for response in await many} == {FailureKind.CLOSED}


async def test_want_of_room_is_raised_as_such_and_not_remembered() -> None:
    """It is no fault of the agent's: a caller that comes when there is room again must not be refused for it."""
    async with VLLMAgent() as agent:
        async with VLLMPool([agent.endpoint], concurrency=1, queue_timeout=0.02) as pool:
            async with pool._semaphore:
                with pytest.raises(QueueTimeout, match="while asking /v1/models for the model"):
                    await pool.post(0, "hi")
            assert (await pool.post(0, "hi")).success
        async with VLLMPool([agent.endpoint], concurrency=1, max_waiting=0) as pool:
            async with pool._semaphore:
                with pytest.raises(TooManyWaiting, match="while asking /v1/models for the model"):
                    await pool.post(0, "hi")
                assert [each.kind for each in await pool.send_all(["hi"])] == [FailureKind.TOO_MANY_WAITING]
                assert [each.kind for each in await pool.send_all_batched(["hi"])] == [FailureKind.TOO_MANY_WAITING]
            assert (await pool.post(0, "hi")).success
