"""`EmbeddingPool`: what it sends, how vectors find their texts, what fails alone, and whose tree it lives in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, http

from fleetsim import Fleet, Profile
from swarmpool import (
    AgentPool,
    BadIndex,
    EmbeddingPool,
    EmptyPool,
    FailureKind,
    PoolClosed,
    QueueTimeout,
    Retry,
    RoundRobin,
    VLLMPool,
)
from swarmpool.progress import Progress

SMALL = Profile(embedding_dimensions=4)


def answering(data: Callable[[list[str]], list[Any]], status: str = "200 OK") -> RawAgent:
    """An agent whose answer has `data` of the texts."""

    def respond(connection: RawConnection) -> None:
        texts = json.loads(connection.requests[-1])["input"]
        connection.write(http(json.dumps({"data": data(texts)}).encode(), status=status))

    return RawAgent(respond)


def by_length(texts: list[str]) -> list[dict[str, Any]]:
    """Each text's vector is its length; the last one comes first."""
    return [{"index": index, "embedding": [len(text)]} for index, text in enumerate(texts)][::-1]


def refusing(bad: str) -> RawAgent:
    """An agent that takes no request with the text `bad` in it."""

    def respond(connection: RawConnection) -> None:
        texts = json.loads(connection.requests[-1])["input"]
        if bad in texts:
            connection.write(http(b'{"error": {"message": "too long"}}', status="400 Bad Request"))
        else:
            connection.write(http(json.dumps({"data": by_length(texts)}).encode()))

    return RawAgent(respond)


# ------------------------------------------------------------------------------------------------------- on a fleet


async def test_both_encodings_give_the_same_vectors_as_the_server_has() -> None:
    async with Fleet(1, profile=SMALL) as fleet:
        found = []
        for encoding in ("float", "base64"):
            async with EmbeddingPool(fleet.endpoints, "sim", encoding=encoding) as pool:
                response = await pool.embed_one(0, "hello")
            assert (response.success, response.status, response.error, response.text_index) == (True, 200, None, 0)
            assert response.usage is not None
            assert response.usage.prompt_tokens == 1
            found.append(response.unwrap())
        assert found[0] == found[1]
        assert len(found[0]) == 4


async def test_all_texts_go_round_the_agents_and_come_back_in_order() -> None:
    texts = [f"text {number}" for number in range(10)]
    async with Fleet(3, profile=SMALL) as fleet, EmbeddingPool(fleet.endpoints, "sim", batch_size=2) as pool:
        alone = [(await pool.embed_one(number % 3, text)).embedding for number, text in enumerate(texts)]
        before = fleet.ledger.requests
        together = await pool.embed_all(iter(texts))
        assert [response.embedding for response in together] == alone
        assert [response.agent_index for response in together] == [number % 3 for number in range(10)]
        assert [response.text_index for response in together] == list(range(10))
        assert fleet.ledger.requests - before == 6  # of 4, 3 and 3 texts, two at a time
        assert len(fleet[0].ledger.request_records()) == 4 + 2


async def test_no_text_is_no_request() -> None:
    async with Fleet(1) as fleet, EmbeddingPool(fleet.endpoints) as pool:
        assert await pool.embed_all([]) == await pool.embed_batch(0, []) == []
        assert fleet.ledger.requests == 0


async def test_one_dead_agent_fails_its_own_texts_alone() -> None:
    async with Fleet(2) as fleet, EmbeddingPool(fleet.endpoints) as pool:
        with fleet[1].fault("unavailable"):
            responses = await pool.embed_all(["a", "b", "c", "d"])
    assert [response.success for response in responses] == [True, False, True, False]
    assert {response.kind for response in responses[1::2]} == {FailureKind.STATUS}
    assert {response.status for response in responses[1::2]} == {503}
    assert all(response.embedding is None for response in responses[1::2])


async def test_a_chat_pool_lends_its_tree_to_embed_and_keeps_it() -> None:
    """One session and one limit for both; what is opened to chat is reused to embed."""
    async with Fleet(2, profile=SMALL) as fleet:
        async with VLLMPool(fleet.endpoints, "sim", model_max_context=4096, max_tokens=2) as pool:
            await pool.send_all(["a", "b"])
            embedding = pool.slice(1, 2).embeddings()
            async with embedding as entered:
                assert entered is embedding
            assert (embedding.size, embedding.model, embedding.select([0]).model) == (1, "sim", "sim")
            response = await embedding.select([0]).embed_one(0, "a")
            assert (response.success, response.connection, response.tree_index) == (True, "reused", 1)
            assert pool.statistics().requests.succeeded == 3
            assert EmbeddingPool.over(pool, "other", encoding="float").model == "other"
        fleet.assert_opened(at_most=2)
        with pytest.raises(PoolClosed):
            await embedding.embed_one(0, "a")
        with pytest.raises(PoolClosed):
            EmbeddingPool.over(pool)


async def test_closing_closes_everything_and_a_closed_pool_stays_closed() -> None:
    """A pool of clients per endpoint dropped them unclosed, and made new ones when it was used again."""
    async with Fleet(3) as fleet:
        pool = EmbeddingPool(fleet.endpoints)
        await pool.by_tag("no", "such").close()
        sub = pool.slice(0, 2)
        await asyncio.gather(pool.embed_all(["a"] * 6), sub.embed_all(["b"] * 6))
        fleet.assert_opened(at_most=6)  # two calls at once, and no set of its own for the sub-pool
        await sub.close()
        assert (await pool.embed_one(0, "still open")).success
        await pool.close()
        fleet.assert_all_closed(within="5s")
        for view in (pool, sub):
            with pytest.raises(PoolClosed):
                await view.embed_all(["a"])
        fleet.assert_opened(at_most=6)


async def test_cancelled_in_the_middle_nothing_is_left_under_way() -> None:
    async with Fleet(2) as fleet, EmbeddingPool(fleet.endpoints, batch_size=1) as pool:
        with fleet.hold() as gate:
            task = asyncio.create_task(pool.embed_all(["a"] * 8))
            await gate.wait_for(in_flight=8)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await fleet.ledger.wait_for(in_flight=0)
        assert pool.statistics().admission.in_flight == 0
        assert (await pool.embed_one(0, "a")).success


async def test_progress_is_told_after_each_request_and_may_end_it_all() -> None:
    seen: list[Progress] = []
    async with Fleet(2) as fleet, EmbeddingPool(fleet.endpoints, batch_size=2) as pool:
        with fleet[1].fault("unavailable"):
            await pool.embed_all(["a"] * 7, progress=seen.append)
        assert [moment.step for moment in seen] == ["embed"] * 4
        assert sorted(moment.done for moment in seen) == [moment.done for moment in seen]
        assert seen[-1] == Progress("embed", 7, 7, 3)

        def weary(moment: Progress) -> None:
            raise LookupError("enough")

        with pytest.raises(LookupError, match="enough"):
            await pool.embed_all(["a"] * 50, progress=weary)
        assert pool.statistics().admission.in_flight == 0


async def test_want_of_room_is_raised_by_one_request_and_a_result_of_many() -> None:
    async with Fleet(1) as fleet, EmbeddingPool(fleet.endpoints, concurrency=1, queue_timeout=0.01) as pool:
        with fleet.hold() as gate:
            first = asyncio.create_task(pool.embed_one(0, "a"))
            await gate.wait_for(in_flight=1)
            with pytest.raises(QueueTimeout):
                await pool.embed_one(0, "b")
            [response] = await pool.embed_all(["c"])
            assert (response.kind, response.attempts, response.text_index) == (FailureKind.QUEUE_TIMEOUT, 0, 0)
        assert (await first).success


# ------------------------------------------------------------------------------------------------ agents that fail


async def test_texts_are_sent_again_to_another_agent_and_tell_it() -> None:
    retry = Retry(tries=2)
    async with (
        Fleet(2) as fleet,
        EmbeddingPool(fleet.endpoints, retry=retry, batch_size=2, routing=RoundRobin()) as pool,
    ):
        with fleet[1].fault("unavailable"):
            responses = await pool.embed_all(["a", "b", "c", "d"])
        assert [response.success for response in responses] == [True] * 4
        again = [response for response in responses if response.attempts == 2]
        assert len(again) == 2
        for response in again:
            [earlier] = response.earlier
            assert (earlier.tree_index, earlier.status, response.tree_index) == (1, 503, 0)
        requests = pool.statistics().requests
        assert (requests.succeeded, requests.failed) == (2, 0)


async def test_an_agent_that_is_named_is_tried_again_itself() -> None:
    async with Fleet(2) as fleet, EmbeddingPool(fleet.endpoints, retry=Retry(pause=0.001)) as pool:
        fleet[1].script("unavailable", "unavailable", "ok")
        response = await pool.embed_one(1, "a")
        assert (response.success, response.attempts, response.tree_index) == (True, 3, 1)
        assert [attempt.status for attempt in response.earlier] == [503, 503]
        assert fleet[0].ledger.requests == 0


async def test_over_another_pool_it_has_the_care_of_that_pools_tree() -> None:
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, "sim", retry=Retry(pause=0.001)) as pool:
        fleet[0].script("unavailable", "ok")
        assert (await pool.embeddings().embed_one(0, "a")).attempts == 2


async def test_what_a_refusal_asked_for_is_told() -> None:
    async with Fleet(1) as fleet, EmbeddingPool(fleet.endpoints) as pool:
        with fleet.fault("rate_limited;retry_after=7s"):
            response = await pool.embed_one(0, "a")
        assert (response.status, response.retry_after, response.earlier) == (429, 7.0, ())


# ------------------------------------------------------------------------------------------------ answers byte by byte


async def test_vectors_find_their_texts_by_index_and_not_by_place() -> None:
    async with answering(by_length) as agent, EmbeddingPool([agent.endpoint], "m") as pool:
        responses = await pool.embed_batch(0, ["a", "bbb", "cc"])
        assert [response.embedding for response in responses] == [[1.0], [3.0], [2.0]]
        assert [response.usage for response in responses] == [None] * 3
        assert agent.bodies == [{"model": "m", "input": ["a", "bbb", "cc"], "encoding_format": "base64"}]
        await pool.embed_one(0, "d", dimensions=2)
        assert agent.bodies[-1] == {"model": "m", "input": ["d"], "encoding_format": "base64", "dimensions": 2}


async def test_a_vector_that_is_missing_or_unreadable_is_its_own_texts_failure() -> None:
    def data(texts: list[str]) -> list[Any]:
        return [{"index": 2, "embedding": "?"}, {"index": 0, "embedding": [1]}]

    async with answering(data) as agent, EmbeddingPool([agent.endpoint]) as pool:
        good, missing, unreadable = await pool.embed_batch(0, ["a", "b", "c"])
        assert (good.success, good.embedding) == (True, [1.0])
        assert (missing.kind, missing.error) == (
            FailureKind.MISSING,
            "the answer to the batch has no entry for this text",
        )
        assert (unreadable.success, unreadable.kind, unreadable.embedding) == (False, FailureKind.SHAPE, None)
        requests = pool.statistics().requests
        assert (requests.succeeded, requests.failed) == (1, 0)


async def test_an_answer_of_another_shape_fails_every_text_of_its_request() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(http(b'{"detail": "what?"}'))

    async with RawAgent(respond) as agent, EmbeddingPool([agent.endpoint]) as pool:
        responses = await pool.embed_batch(0, ["a", "b"])
        assert [response.kind for response in responses] == [FailureKind.SHAPE] * 2
        assert pool.statistics().requests.failed == 1


async def test_one_text_that_is_not_taken_does_not_fail_the_others_of_its_batch() -> None:
    async with refusing("x" * 9) as agent, EmbeddingPool([agent.endpoint]) as pool:
        responses = await pool.embed_all(["a", "x" * 9, "cc"])
        assert [response.embedding for response in responses] == [[1.0], None, [2.0]]
        assert [response.attempts for response in responses] == [2, 2, 2]
        assert (responses[1].status, responses[1].error) == (400, "status 400: too long")
        assert [body["input"] for body in agent.bodies][1:] == [["a"], ["x" * 9], ["cc"]]


async def test_a_busy_server_is_not_asked_text_by_text() -> None:
    async with answering(by_length, "429 Too Many Requests") as agent, EmbeddingPool([agent.endpoint]) as pool:
        responses = await pool.embed_all(["a", "b"])
        assert [response.status for response in responses] == [429, 429]
        assert len(agent.bodies) == 1


# ----------------------------------------------------------------------------------------------------------- misuse


async def test_an_empty_view_and_an_index_that_is_none_raise_as_everywhere() -> None:
    async with EmbeddingPool([("127.0.0.1", 9)]) as pool:
        with pytest.raises(EmptyPool):
            await pool.slice(0, 0).embed_all(["a"])
        for index in (1, -1):
            with pytest.raises(BadIndex):
                await pool.embed_one(index, "a")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": ""}, ValueError, "model must be a name or None"),
        ({"model": 7}, TypeError, "model must be text"),
        ({"encoding": "hex"}, ValueError, "encoding must be 'base64' or 'float', not 'hex'"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EmbeddingPool([("127.0.0.1", 9)], **options)
    with pytest.raises(error, match=message):
        EmbeddingPool.over(AgentPool([("127.0.0.1", 9)]), **options)


@pytest.mark.parametrize("texts", ["one text", 7, ["a", 7]])
async def test_texts_must_be_a_collection_of_texts(texts: Any) -> None:
    async with EmbeddingPool([("127.0.0.1", 9)]) as pool:
        with pytest.raises(TypeError, match="texts"):
            await pool.embed_all(texts)


async def test_prompts_are_not_for_agents_that_embed() -> None:
    async with EmbeddingPool([("127.0.0.1", 9)]) as pool:
        with pytest.raises(TypeError, match="take no prompts: use embed_one"):
            await pool.post(0, "hello")
        with pytest.raises(TypeError, match="take no prompts: use embed_one"):
            await pool.broadcast_prompt("hello")


async def test_the_key_of_the_servers_is_sent_and_not_shown() -> None:
    async with answering(by_length) as agent, EmbeddingPool([agent.endpoint], api_key="hunter2") as pool:
        assert (await pool.embed_one(0, "a")).success
        assert b"authorization: bearer hunter2" in agent.connections[0].heads[0].lower()
        assert "hunter2" not in repr(pool)
    with pytest.raises(ValueError, match="api_key must be printable") as caught:
        EmbeddingPool([agent.endpoint], api_key="hunter2\n")
    assert "hunter2" not in str(caught.value)


async def test_a_users_subclass_has_views_of_its_class() -> None:
    class Mine(EmbeddingPool):
        pass

    async with Mine([("127.0.0.1", 9)], "m") as pool:
        assert type(pool.slice(0, 1).select([0])) is Mine
        assert type(Mine.over(pool)) is Mine
