"""The holes of the pools that this one takes the place of, each by the scenario that fell through it.

Those of persistent connections are in tests/swarmpool/test_connection_pool_holes.py. Where a scenario hangs on time, it
is played in a simulated world.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, http
from vllm_agent import VLLMAgent, models_answer

import simkernel
from fleetsim import Fleet, Profile
from simkernel import Net
from swarmpool import (
    AgentEndpoint,
    AgentPool,
    BadIndex,
    EmbeddingPool,
    EmptyPool,
    FailureKind,
    HostfileError,
    LeastInFlight,
    PoolClosed,
    QueueTimeout,
    Response,
    Retry,
    TooManyWaiting,
    VLLMPool,
    WrongEventLoop,
    parse_hostfile,
)

KNOWN: dict[str, Any] = {"model": "sim", "max_tokens": 4, "model_max_context": 4096}


def vllm(fleet: Fleet, **options: Any) -> VLLMPool:
    return VLLMPool([(server.host, server.port) for server in fleet.endpoints], **{**KNOWN, **options})


def simulated(
    work: Callable[[Fleet, VLLMPool], Awaitable[None]], agents: int, profile: Profile, **options: Any
) -> None:
    async def main(_: Net) -> None:
        async with Fleet(agents, profile=profile, seed=1) as fleet, vllm(fleet, **options) as pool:
            await work(fleet, pool)

    simkernel.run(main, seed=1)


def now() -> float:
    return asyncio.get_running_loop().time()


# ------------------------------------------------------------------------------------------------ the tree and its life


async def test_a_sub_pool_of_a_users_class_has_all_that_the_users_class_has() -> None:
    """They were plain pools, made by copying the fields that somebody had remembered."""

    class Mine(VLLMPool):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.greeting = "hello"

        async def greet(self) -> Response:
            return await self.post(0, self.greeting)

    async with Fleet(2) as fleet, Mine(fleet.endpoints, **KNOWN) as pool:
        view = pool.slice(1, 2).select([0]).sample(1)
        assert type(view) is Mine
        pool.greeting = "good evening"
        assert (await view.greet()).tree_index == 1
        assert view.greeting == "good evening"


async def test_a_sub_pool_made_before_the_session_is_there_has_no_session_of_its_own() -> None:
    async with Fleet(2) as fleet:
        pool = vllm(fleet)
        view = pool.slice(0, 1)
        assert (await view.post(0, "hi")).success
        await pool.close()
        fleet.assert_all_closed(within="5s")


async def test_a_closed_pool_does_not_reopen() -> None:
    async with Fleet(1) as fleet:
        async with vllm(fleet) as pool:
            view = pool.slice(0, 1)
        for closed in (pool, view):
            with pytest.raises(PoolClosed):
                await closed.post(0, "hi")
            with pytest.raises(PoolClosed):
                await closed.__aenter__()
        assert fleet.ledger.opened == 0


async def test_leaving_a_sub_pool_leaves_the_tree_open_and_its_requests_alone() -> None:
    async with Fleet(2) as fleet, vllm(fleet) as pool:
        with fleet.hold() as gate:
            under_way = asyncio.create_task(pool.post(1, "hi"))
            await gate.wait_for(in_flight=1)
            async with pool.slice(0, 1) as view:
                pass
            await view.close()
        assert (await under_way).success
        assert (await pool.post(0, "hi")).success


async def test_closing_lets_requests_under_way_end_and_tells_those_that_wait() -> None:
    async with Fleet(1) as fleet:
        pool = vllm(fleet, concurrency=1)
        with fleet.hold() as gate:
            under_way = asyncio.create_task(pool.post(0, "hi"))
            await gate.wait_for(in_flight=1)
            queued = asyncio.create_task(pool.post(0, "hi"))
            many = asyncio.create_task(pool.send_all(["hi"]))
            await asyncio.sleep(0)
            closing = asyncio.create_task(pool.close(drain=60))
            with pytest.raises(PoolClosed):
                await queued
            assert [response.kind for response in await many] == [FailureKind.CLOSED]
        assert (await under_way).success
        await closing


async def test_a_pool_belongs_to_one_event_loop_and_says_so() -> None:
    said: list[BaseException] = []

    async with Fleet(1) as fleet, vllm(fleet) as pool:

        def elsewhere() -> None:
            try:
                asyncio.run(pool.post(0, "hi"))
            except WrongEventLoop as error:
                said.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        await asyncio.get_running_loop().shutdown_default_executor()
        assert len(said) == 1
        assert (await pool.post(0, "hi")).success


# ------------------------------------------------------------------------------------------------ limits, time, balance


async def test_connector_limit_bounds_sockets_and_not_only_those_in_use() -> None:
    async with Fleet(40) as fleet, vllm(fleet, connector_limit=4) as pool:
        assert all(response.success for response in await pool.send_all(["hi"] * 120))
        connections = pool.statistics().connections
        assert connections.peak_open == 4
        assert connections.open <= 4


def test_waiting_for_a_slot_is_no_time_of_the_servers() -> None:
    """Two at a time, 0.2 s each, 0.5 s allowed: all ten are answered, though the last waits for longer than that."""

    async def main(_: Net) -> None:
        async with (
            Fleet(1, profile=Profile(ttft=0.2, itl=0.0), seed=1) as fleet,
            vllm(fleet, concurrency=2, timeout=0.5) as pool,
        ):
            tasks = [asyncio.create_task(pool.post(0, "hi")) for _ in range(10)]
            responses = [await task for task in tasks]
            assert [response.kind for response in responses] == [None] * 10
            assert responses[-1].queue_seconds > 0.5 > responses[-1].wire_seconds

    simkernel.run(main, seed=1)


async def test_waiting_for_a_slot_is_bounded_in_time_and_number_and_counted() -> None:
    async with Fleet(1) as fleet, vllm(fleet, concurrency=1, queue_timeout=0.05, max_waiting=1) as pool:
        with fleet.hold() as gate:
            first = asyncio.create_task(pool.post(0, "hi"))
            await gate.wait_for(in_flight=1)
            second = asyncio.create_task(pool.post(0, "hi"))
            await asyncio.sleep(0)
            assert pool.statistics().admission.waiting == 1
            with pytest.raises(TooManyWaiting):
                await pool.post(0, "hi")
            with pytest.raises(QueueTimeout):
                await second
        assert (await first).success


def test_a_slow_agent_need_not_have_the_same_share() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay;seconds=2s"):
            responses = await pool.send_all(["hi"] * 100)
        share = Counter(response.tree_index for response in responses)
        assert share[0] < 10 < share[1]

    simulated(work, 2, Profile(ttft=0.05, itl=0.0), routing=LeastInFlight(), concurrency=4)


def test_no_slot_is_held_while_a_retry_pauses() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            dead = asyncio.create_task(pool.post(0, "hi"))
            await asyncio.sleep(1)
            began = now()
            assert (await pool.post(1, "hi")).success
            assert now() - began < 1
            assert not dead.done()
            dead.cancel()
            await asyncio.wait([dead])

    simulated(work, 2, Profile(ttft=0.05, itl=0.0), retry=Retry(pause=5.0, jitter=0.0), concurrency=1)


def test_tries_are_counted_over_all_layers() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("unavailable"):
            response = await pool.post(0, "hi")
            assert (response.attempts, fleet.ledger.requests) == (6, 6)

    simulated(work, 1, Profile(), retry=Retry(tries=6))


@pytest.mark.parametrize(("status", "tries"), [("400 Bad Request", 1), ("429 Too Many Requests", 2)])
async def test_what_is_tried_again_hangs_on_the_status_and_not_on_words(status: str, tries: int) -> None:
    """A 400 whose text had "connection" in it was, and a 429 was not."""

    def respond(connection: RawConnection) -> None:
        connection.write(http(b'{"error": {"message": "Connection timeout is no such option"}}', status=status))

    async with RawAgent(respond) as agent, AgentPool([agent.endpoint], retry=Retry(tries=2, pause=0.001)) as pool:
        assert (await pool.post(0, "hi")).attempts == len(agent.requests) == tries


def test_no_request_is_lost_to_a_server_that_closes_what_is_idle() -> None:
    """Requests 4.5 to 5.5 seconds apart, against a server that closes after 5."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        for turn in range(101):
            assert (await pool.post(0, "hi")).success
            await asyncio.sleep(4.5 + turn / 100)

    simulated(work, 1, Profile(ttft=0.01, itl=0.0))


async def test_many_prompts_are_few_tasks_and_are_taken_as_they_are_needed() -> None:
    taken = 0

    class OnPaper(AgentPool):
        async def post(self, agent_index: int | None, prompt: str | None, *_: Any, **__: Any) -> Response:
            assert len(asyncio.all_tasks()) <= before + 9
            await asyncio.sleep(0)
            return Response(True, str(prompt))

    def prompts() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 100_001):
            yield str(taken)

    before = len(asyncio.all_tasks())
    async with OnPaper([("127.0.0.1", 9)], concurrency=8) as pool:
        results = pool.stream_all(prompts())
        for _ in range(10):
            await anext(results)
        assert taken < 50
        await results.aclose()


# ------------------------------------------------------------------------------------------------ batches and metadata


async def test_batches_go_over_the_one_session_within_its_limit() -> None:
    async with Fleet(6) as fleet, vllm(fleet, connector_limit=1) as pool:
        assert all(response.success for response in await pool.send_all_batched(["hi"] * 24))
        assert pool.statistics().connections.peak_open == 1
        assert fleet.ledger.requests == 6


async def test_answers_to_a_batch_are_placed_by_their_index_and_a_missing_one_fails_alone() -> None:
    class Careless(VLLMAgent):
        def choices(self, prompts: list[str]) -> list[dict[str, Any]]:
            return [choice for choice in super().choices(prompts)[::-1] if choice["text"] != "c"]

    async with Careless() as agent, VLLMPool([agent.endpoint] * 2, **KNOWN) as pool:
        responses = await pool.send_all_batched(["a", "b", "c", "d", "e", "f"])
        assert [response.text for response in responses] == ["a", "b", "", "d", "e", "f"]
        assert [response.kind for response in responses if not response.success] == [FailureKind.MISSING]


async def test_the_model_is_asked_for_once_however_many_ask_first_and_from_whatever_view() -> None:
    async with VLLMAgent() as agent, VLLMPool([agent.endpoint] * 4) as pool:
        await asyncio.gather(*(pool.post(number % 4, "hi") for number in range(50)))
        for number in range(4):
            await pool.by_tag("no", "such").close()
            await pool.select([number]).post(0, "hi")
        assert agent.paths.count("/v1/models") == 1


async def test_a_failure_to_learn_the_context_is_not_kept_for_ever() -> None:
    broken = http(b"", status="500 Oh")
    async with VLLMAgent(models=broken) as first, VLLMAgent(models=models_answer("sim", 1000)) as second:
        async with VLLMPool([first.endpoint, second.endpoint], "sim", 9_999, buffer=0) as pool:
            for index in (0, 1, 0):
                assert (await pool.post(index, "hi")).success
        assert [body["max_tokens"] for body in first.sent + second.sent] == [9_999, 1000, 1000]


@pytest.mark.parametrize("body", [b'{"error": "slow down"}', b'"slow down"', b"slow down", b"<html>slow down</html>"])
async def test_an_error_of_any_shape_keeps_its_status_and_words(body: bytes) -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(http(body, status="429 Too Many Requests"))

    async with RawAgent(respond) as agent, VLLMPool([agent.endpoint], **KNOWN) as pool:
        for response in (await pool.post(0, "hi"), *await pool.post_batch(0, ["hi"])):
            assert (response.success, response.status, response.kind) == (False, 429, FailureKind.STATUS)
            assert "slow down" in str(response.error)


@pytest.mark.parametrize("use_batch", [True, False])
@pytest.mark.parametrize("tokens", [0, 7])
async def test_tokens_reach_the_server_as_they_were_given(use_batch: bool, tokens: int) -> None:
    async with VLLMAgent() as agent, VLLMPool([agent.endpoint], use_batch=use_batch, **KNOWN) as pool:
        await pool.send_all_batched(["a"], max_tokens=tokens)
        await pool.post(0, "a", tokens)
        assert [body["max_tokens"] for body in agent.sent] == [tokens, tokens]


# ------------------------------------------------------------------------------------------------ results, selectors


async def test_only_a_status_of_2xx_is_a_success_and_every_failure_has_words() -> None:
    answers = [
        http(b'{"error": "oom"}', status="500 Internal Server Error"),
        http(b"<html>bad gateway</html>", "content-type: text/html", status="502 Bad Gateway"),
    ]

    def respond(connection: RawConnection) -> None:
        if answers:
            connection.write(answers.pop(0))

    async with RawAgent(respond) as agent:
        failed = []
        for timeout in (60, 60, 0.1):
            async with AgentPool([agent.endpoint], timeout=timeout) as pool:
                failed.append(await pool.post(0, "hi"))
    assert [(response.success, response.status) for response in failed] == [(False, 500), (False, 502), (False, None)]
    assert failed[2].kind is FailureKind.TIMEOUT
    for response, words in zip(failed, ("oom", "502", "no whole answer"), strict=True):
        assert words in str(response.error)


async def test_a_bug_of_the_caller_is_no_failure_of_an_agent() -> None:
    class Buggy(VLLMPool):
        def _read_whole(self, body: bytes) -> Any:
            return json.loads(body)["no such key"]

    async with Fleet(1) as fleet, Buggy(fleet.endpoints, **KNOWN) as pool:
        with pytest.raises(KeyError):
            await pool.post(0, "hi")
        with pytest.raises(KeyError):
            await pool.send_all(["hi"])
        assert pool.statistics().admission.in_flight == 0


async def test_an_empty_view_is_told_the_same_way_everywhere() -> None:
    async with VLLMPool([]) as pool, EmbeddingPool([]) as embedding:
        for call in (
            pool.post(0, "hi"),
            pool.send_all(["hi"]),
            pool.send_all_batched(["hi"]),
            pool.broadcast_prompt("hi"),
            pool.post_batch(0, ["hi"]),
            embedding.embed_one(0, "hi"),
            embedding.embed_all(["hi"]),
        ):
            with pytest.raises(EmptyPool):
                await call


async def test_a_result_says_which_agent_of_the_tree_it_is_from() -> None:
    async with Fleet(3) as fleet, vllm(fleet) as pool:
        response = await pool.select([2]).post(0, "hi")
        assert (response.agent_index, response.tree_index) == (0, 2)
        assert response.endpoint is not None
        assert response.endpoint.port == fleet[2].port


async def test_an_index_that_is_none_is_told_and_samples_can_be_repeated() -> None:
    async with VLLMPool([("127.0.0.1", port) for port in range(9000, 9040)]) as pool:
        for index in (-1, 40):
            with pytest.raises(BadIndex):
                pool.select([index])
            with pytest.raises(BadIndex):
                await pool.post(index, "hi")
        assert pool.sample(9, seed=7).endpoints == pool.sample(9, seed=7).endpoints
        assert pool.sample(9, seed=7).endpoints != pool.sample(9, seed=8).endpoints


def test_an_endpoint_can_be_hashed_and_its_tags_are_its_own() -> None:
    tags = {"rack": "a"}
    endpoint = AgentEndpoint("node7", tags=tags)
    tags["rack"] = "b"
    assert endpoint.tags == {"rack": "a"}
    assert {endpoint: 1}[AgentEndpoint("node7", tags={"rack": "a"})] == 1


def test_hostfiles_are_read_as_they_are_meant_or_refused() -> None:
    text = "host 8001\n::1\nhttps://node7:8443\n"
    assert [one.url for one in parse_hostfile(io.StringIO(text))] == [
        "http://host:8001",
        "http://[::1]:8000",
        "https://node7:8443",
    ]
    with pytest.raises(HostfileError, match="line 1: port must be 1 to 65535"):
        parse_hostfile(io.StringIO("node7\t99999"))
