"""The calls that send: one, many, to all, in a stream of results; what they raise and what they return."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from raw_agent import RawAgent, RawConnection, eventually, http, says

from swarmpool import (
    AgentEndpoint,
    AgentPool,
    BadIndex,
    FailureKind,
    PoolClosed,
    QueueTimeout,
    Response,
    TooManyWaiting,
)


def prompt_of(connection: RawConnection) -> str:
    prompt = json.loads(connection.requests[-1])["prompt"]
    assert isinstance(prompt, str)
    return prompt


def echo(connection: RawConnection) -> None:
    """Answer with the prompt."""
    connection.write(says(prompt_of(connection)))


def silent(connection: RawConnection) -> None:
    """Read the request and never answer."""


@asynccontextmanager
async def pool_of(
    number: int, respond: Callable[[RawConnection], None] = echo, **options: Any
) -> AsyncIterator[tuple[RawAgent, AgentPool]]:
    """A pool whose agents are one server under as many names."""
    async with RawAgent(respond) as agent:
        agents = [AgentEndpoint("127.0.0.1", agent.port, {"number": str(index)}) for index in range(number)]
        async with AgentPool(agents, **options) as pool:
            yield agent, pool


# ----------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("concurrency", 0),
        ("concurrency", -1),
        ("concurrency", "512"),
        ("concurrency", True),
        ("concurrency", 1.5),
        ("connector_limit", 0),
        ("connector_limit", None),
        ("timeout", 0),
        ("timeout", "soon"),
        ("timeout", float("nan")),
        ("concurrency_per_agent", 0),
        ("queue_timeout", -1),
        ("max_waiting", -1),
        ("keepalive_timeout", 0),
        ("connect_timeout", float("inf")),
        ("dns_ttl", 0),
        ("headers", [("a", "b")]),
        ("headers", {"a b": "c"}),
        ("ssl", "yes"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=option):
        AgentPool([("127.0.0.1", 1)], **{option: value})


@pytest.mark.parametrize("endpoint", [("127.0.0.1", 0), "127.0.0.1:80", ("127.0.0.1",), 7, ("a b", 80)])
def test_an_endpoint_that_cannot_be_is_refused_by_its_place(endpoint: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"endpoints\[1\]: "):
        AgentPool([("127.0.0.1", 1), endpoint])


def test_no_header_is_shown_in_any_error() -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        AgentPool([("127.0.0.1", 1)], headers={"authorization": "Bearer secret\n"})
    assert "secret" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- one prompt


async def test_post_sends_what_it_is_given() -> None:
    async with pool_of(1) as (agent, pool):
        response = await pool.post(0, "hi", 5, temperature=0.5)
        assert response.unwrap() == "hi"
        assert agent.bodies == [{"prompt": "hi", "max_tokens": 5, "temperature": 0.5}]
        assert b"POST /generate HTTP/1.1" in agent.connections[0].heads[0]


async def test_a_result_names_the_agent_in_the_view_and_in_the_tree() -> None:
    async with pool_of(6) as (_, pool):
        response = await pool.select([5, 3]).post(1, "hi")
        assert (response.agent_index, response.tree_index) == (1, 3)
        assert response.endpoint == pool.endpoints[3]
        assert response.prompt_index is None


@pytest.mark.parametrize("prompt", [None, 7, b"hi"])
async def test_a_prompt_that_is_no_text_is_misuse_and_sends_nothing(prompt: Any) -> None:
    async with pool_of(1) as (agent, pool):
        with pytest.raises(TypeError, match="prompt must be text"):
            await pool.post(0, prompt)
        with pytest.raises(TypeError, match="messages need a chat"):
            await pool.post(0, "hi", messages=[])
        with pytest.raises(ValueError, match="max_tokens must be at least 0, not -1"):
            await pool.post(0, "hi", -1)
        assert agent.requests == []
        assert pool.statistics().admission.attempts == 0


async def test_a_prompt_of_any_characters_arrives_whole() -> None:
    prompt = "naïve \N{CAT FACE} \x00 \ud800 \u2028"
    async with pool_of(1) as (_, pool):
        assert (await pool.post(0, prompt)).unwrap() == prompt
        assert (await pool.post(0, "")).unwrap() == ""


async def test_a_full_pool_raises_in_time_and_says_the_numbers() -> None:
    async with pool_of(1, silent, concurrency=1, queue_timeout=0.05, max_waiting=1) as (agent, pool):
        holder = asyncio.create_task(pool.post(0, "holds the slot"))
        await eventually(lambda: agent.requests)
        waiting = asyncio.create_task(pool.post(0, "waits"))
        await eventually(lambda: pool.statistics().admission.waiting == 1)
        with pytest.raises(TooManyWaiting, match="max_waiting=1 callers wait already; 1 of 1 slots in use"):
            await pool.post(0, "one too many")
        with pytest.raises(QueueTimeout, match=r"no slot within queue_timeout=0\.05 s"):
            await waiting
        agent.connections[0].write(says())
        assert (await holder).success


# --------------------------------------------------------------------------------------------------------- many prompts


async def test_send_all_goes_round_robin_and_keeps_the_order() -> None:
    async with pool_of(3) as (_, pool):
        responses = await pool.send_all([f"p{number}" for number in range(10)])
        assert [response.text for response in responses] == [f"p{number}" for number in range(10)]
        assert [response.agent_index for response in responses] == [number % 3 for number in range(10)]
        assert [response.prompt_index for response in responses] == list(range(10))


async def test_send_all_takes_any_iterable_and_passes_on_what_it_is_given() -> None:
    async with pool_of(2) as (agent, pool):
        assert await pool.send_all(iter(())) == []
        responses = await pool.send_all((f"p{number}" for number in range(3)), 4, top_p=0.9)
        assert [response.text for response in responses] == ["p0", "p1", "p2"]
        assert all(body["max_tokens"] == 4 and body["top_p"] == 0.9 for body in agent.bodies)


async def test_one_string_is_not_a_collection_of_prompts() -> None:
    async with pool_of(2) as (agent, pool):
        for call in (pool.send_all, pool.send_all_batched, partial(pool.post_batch, 0)):
            with pytest.raises(TypeError, match="prompts must be a collection of prompts, not one string"):
                await call("hello")
        with pytest.raises(TypeError, match="not one string"):
            await anext(pool.stream_all("hello"))
        assert agent.requests == []


async def test_send_all_of_many_prompts_holds_as_many_tasks_as_may_be_in_flight() -> None:
    """A task for each of a million prompts would be there before the first answer."""
    most = 0

    def counted(connection: RawConnection) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        echo(connection)

    taken = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        for number in range(2_000):
            taken += 1
            assert taken - len(agent.requests) <= 9, "prompts are taken ahead of the requests"
            yield str(number)

    async with pool_of(4, counted, concurrency=8) as (agent, pool):
        before = len(asyncio.all_tasks())
        responses = await pool.send_all(prompts())
        assert [response.text for response in responses] == [str(number) for number in range(2_000)]
        assert most <= before + 8 + 8
        assert pool.statistics().admission.peak_in_flight == 8


async def test_concurrency_is_reached_and_never_passed() -> None:
    async with pool_of(4, silent, concurrency=6) as (agent, pool):
        work = asyncio.create_task(pool.send_all(["hi"] * 20))
        await eventually(lambda: len(agent.requests) == 6)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(agent.requests) == 6
        work.cancel()
        await asyncio.wait([work])
        assert pool.statistics().admission.in_flight == 0


async def test_the_cap_per_agent_holds_and_is_no_brake_on_the_others() -> None:
    async with RawAgent(silent) as slow, RawAgent(echo) as quick:
        pool = AgentPool([slow.endpoint, quick.endpoint], concurrency=8, concurrency_per_agent=2)
        work = asyncio.create_task(pool.send_all(["hi"] * 40))
        await eventually(lambda: len(quick.requests) == 20)
        assert len(slow.requests) == 2
        await pool.close(drain=0)
        assert sum(response.success for response in await work) == 20


async def test_what_a_single_call_would_raise_is_a_result_among_many() -> None:
    async with pool_of(2, silent, concurrency=1, queue_timeout=0.05, max_waiting=1) as (agent, pool):
        holder = asyncio.create_task(pool.post(0, "holds the slot"))
        await eventually(lambda: agent.requests)
        waiting = asyncio.create_task(pool.send_all(["waits"]))
        await eventually(lambda: pool.statistics().admission.waiting == 1)
        (refused,) = await pool.send_all(["one too many"])
        assert (refused.kind, refused.attempts) == (FailureKind.TOO_MANY_WAITING, 0)
        assert (refused.agent_index, refused.endpoint) == (0, pool.endpoints[0])
        ((late,)) = await waiting
        assert late.kind is FailureKind.QUEUE_TIMEOUT
        assert "queue_timeout=0.05" in (late.error or "")
        await pool.close(drain=0)
        assert (await holder).kind is FailureKind.CLOSED


async def test_a_pool_that_closes_under_send_all_turns_the_rest_into_results() -> None:
    async with pool_of(2, silent, concurrency=2) as (agent, pool):
        work = asyncio.create_task(pool.send_all(["hi"] * 7))
        await eventually(lambda: len(agent.requests) == 2)
        await pool.close(drain=0)
        responses = await work
        assert [response.kind for response in responses] == [FailureKind.CLOSED] * 7
        assert [response.prompt_index for response in responses] == list(range(7))
        assert work.cancelling() == 0


async def test_every_failure_is_among_the_results() -> None:
    def respond(connection: RawConnection) -> None:
        if prompt_of(connection) == "bad":
            connection.write(http(b'{"error":"no"}', status="400 Bad Request"))
        else:
            echo(connection)

    async with pool_of(1, respond) as (_, pool):
        responses = await pool.send_all(["good", "bad", "good"])
        assert [response.kind for response in responses] == [None, FailureKind.STATUS, None]


async def test_cancelling_send_all_cancels_what_is_under_way_and_nothing_else() -> None:
    async with pool_of(2, silent, concurrency=3) as (agent, pool):
        other = asyncio.create_task(pool.post(0, "somebody else's"))
        await eventually(lambda: agent.requests)
        work = asyncio.create_task(pool.send_all(["hi"] * 10))
        await eventually(lambda: len(agent.requests) == 3)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert pool.statistics().admission.in_flight == 1
        assert pool.statistics().requests.cancelled == 2
        agent.connections[0].write(says("mine"))
        assert (await other).unwrap() == "mine"


async def test_a_bug_in_the_prompts_is_raised_and_ends_the_others() -> None:
    def prompts() -> Iterator[str]:
        yield "fine"
        raise ZeroDivisionError

    async with pool_of(2, silent) as (_, pool):
        with pytest.raises(ZeroDivisionError):
            await pool.send_all(prompts())
        assert pool.statistics().admission.in_flight == 0


async def test_post_batch_of_a_plain_pool_is_a_request_for_each_prompt_at_one_agent() -> None:
    async with pool_of(3) as (agent, pool):
        responses = await pool.post_batch(2, ["a", "b", "c"], 9)
        assert [response.text for response in responses] == ["a", "b", "c"]
        assert {response.agent_index for response in responses} == {2}
        assert [response.prompt_index for response in responses] == [0, 1, 2]
        assert all(body["max_tokens"] == 9 for body in agent.bodies)
        assert await pool.post_batch(2, []) == []
        with pytest.raises(BadIndex):
            await pool.post_batch(3, ["a"])


async def test_a_broadcast_asks_every_agent_of_the_view_once() -> None:
    async with pool_of(5) as (agent, pool):
        responses = await pool.select([4, 2]).broadcast_prompt("to all", 3)
        assert [(response.agent_index, response.tree_index) for response in responses] == [(0, 4), (1, 2)]
        assert agent.bodies == [{"prompt": "to all", "max_tokens": 3}] * 2


async def test_send_all_batched_of_a_plain_pool_is_send_all() -> None:
    async with pool_of(2) as (agent, pool):
        responses = await pool.send_all_batched(["a", "b", "c"], 3)
        assert [response.text for response in responses] == ["a", "b", "c"]
        assert all(body["max_tokens"] == 3 for body in agent.bodies)


# ------------------------------------------------------------------------------------------------------- as they finish


async def test_stream_all_yields_each_result_as_soon_as_it_is_there() -> None:
    def respond(connection: RawConnection) -> None:
        held[prompt_of(connection)] = connection

    held: dict[str, RawConnection] = {}
    async with pool_of(2, respond) as (_, pool):
        results = pool.stream_all(["a", "b", "c"])
        first = asyncio.ensure_future(anext(results))
        await eventually(lambda: len(held) == 3)
        order = []
        for prompt in ("b", "c", "a"):
            held[prompt].write(says(prompt))
            response = await first
            order.append((response.text, response.prompt_index, response.agent_index))
            if prompt != "a":
                first = asyncio.ensure_future(anext(results))
        assert order == [("b", 1, 1), ("c", 2, 0), ("a", 0, 0)]
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@pytest.mark.parametrize("way", ["break", "aclose"])
async def test_leaving_stream_all_early_cancels_what_is_under_way(way: str) -> None:
    def respond(connection: RawConnection) -> None:
        if prompt_of(connection) == "quick":
            echo(connection)

    async with pool_of(2, respond, concurrency=4) as (agent, pool):
        results = pool.stream_all(["quick"] + ["slow"] * 20)
        async for response in results:
            assert response.text == "quick"
            break
        if way == "aclose":
            await results.aclose()
            assert pool.statistics().admission.in_flight == 0
        del results
        await eventually(lambda: pool.statistics().admission.in_flight == 0)
        assert len(agent.requests) <= 5


async def test_a_consumer_that_falls_behind_holds_the_sending_up() -> None:
    async with pool_of(1, concurrency=3) as (agent, pool):
        results = pool.stream_all(str(number) for number in range(1_000))
        await anext(results)
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert len(agent.requests) <= 1 + 3 + 3
        assert len([response async for response in results]) == 999


async def test_cancelling_the_reader_of_stream_all_cancels_the_requests() -> None:
    async def read(pool: AgentPool) -> None:
        async for _ in pool.stream_all(["hi"] * 5):
            pass

    async with pool_of(1, silent) as (agent, pool):
        reader = asyncio.create_task(read(pool))
        await eventually(lambda: len(agent.requests) == 5)
        reader.cancel()
        await asyncio.wait([reader])
        await eventually(lambda: pool.statistics().admission.in_flight == 0)


# ------------------------------------------------------------------------------------------------------------ the tree


async def test_use_of_many_views_at_once_shares_one_limit() -> None:
    async with pool_of(6, silent, concurrency=2) as (agent, pool):
        views = [pool.slice(0, 2), pool.select([3]), pool.by_tag("number", "5"), pool.sample(2, seed=1)]
        work = [asyncio.create_task(view.post(0, "hi")) for view in views]
        await eventually(lambda: len(agent.requests) == 2)
        assert pool.statistics().admission.waiting == 2
        await pool.close(drain=0)
        ended = await asyncio.gather(*work, return_exceptions=True)
        kinds = [end.kind if isinstance(end, Response) else type(end) for end in ended]
        assert sorted(map(str, kinds)) == sorted(map(str, [FailureKind.CLOSED] * 2 + [PoolClosed] * 2))


async def test_closing_cancelled_at_any_step_is_finished_by_the_next_close() -> None:
    @asynccontextmanager
    async def scene(agent: RawAgent) -> AsyncIterator[Any]:
        pool = AgentPool([agent.endpoint], concurrency=1)
        await pool.post(0, "warm")
        held = asyncio.create_task(pool.post(0, "held"))
        queued = asyncio.create_task(pool.send_all(["queued"] * 2))
        await eventually(lambda: agent.requests[-1:] and b"held" in agent.requests[-1])
        yield pool.close(drain=0)
        await pool.close(drain=0)
        assert (await held).kind is FailureKind.CLOSED
        assert [response.kind for response in await queued] == [FailureKind.CLOSED] * 2
        assert pool.statistics().connections.open == 0

    def respond(connection: RawConnection) -> None:
        if prompt_of(connection) == "warm":
            echo(connection)

    async with RawAgent(respond) as agent:
        await cancel_at_every_step(partial(scene, agent))


@pytest.mark.parametrize("endpoints", [5, None, "127.0.0.1:8000"])
def test_endpoints_that_are_no_collection_are_refused_by_name(endpoints: Any) -> None:
    with pytest.raises(TypeError, match="endpoints must be a collection"):
        AgentPool(endpoints)
