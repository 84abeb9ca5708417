"""What an instrumented pool tells OpenTelemetry of a fleet, compared with what it says itself."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from played import played
from raw_agent import RawAgent, RawConnection, says
from telling import StatusCode, Told

from fleetsim import Fleet, Profile
from swarmpool import (
    AgentPool,
    EmbeddingPool,
    Health,
    Hedge,
    PoolClosed,
    QueueTimeout,
    Retry,
    Sticky,
    VLLMPool,
)

SECRET = "hunter2"
SLOW = Profile(ttft=0.01, itl=0.05)


@pytest.fixture
def told() -> Told:
    return Told()


def over(fleet: Fleet, **options: Any) -> VLLMPool:
    """A pool that has nothing to ask its servers but what the test asks."""
    return VLLMPool(fleet.endpoints, **{"model": "sim", "max_tokens": 5, "model_max_context": 4096, **options})


def named(told: Told, name: str) -> list[Any]:
    return [span for span in told.spans() if span.name == name]


async def test_a_call_is_a_span_with_one_child_for_its_request(told: Told) -> None:
    async with Fleet(2) as fleet, over(fleet) as pool:
        told.instrument(pool)
        response = await pool.post(1, "hi")
    assert response.usage is not None
    request, call = told.spans()
    assert (call.name, request.name) == ("chat sim", "POST /v1/chat/completions")
    assert request.parent.span_id == call.context.span_id
    assert call.parent is None
    assert call.attributes == {
        "swarmpool.pool.name": "VLLMPool",
        "gen_ai.provider.name": "vllm",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "sim",
        "gen_ai.response.finish_reasons": (response.finish_reason,),
        "gen_ai.usage.input_tokens": response.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": response.usage.completion_tokens,
        "swarmpool.attempts": 1,
        "swarmpool.queue_seconds": 0.0,
    }
    assert request.attributes == {
        "swarmpool.pool.name": "VLLMPool",
        "http.request.method": "POST",
        "url.template": "/v1/chat/completions",
        "http.response.status_code": 200,
        "swarmpool.agent.index": 1,
        "swarmpool.queue_seconds": 0.0,
        "swarmpool.connection": "new",
    }


async def test_metrics_have_the_standard_names_and_say_what_statistics_say(told: Told) -> None:
    async with (
        Fleet(2) as fleet,
        over(fleet, concurrency=2, keepalive_timeout=None) as pool,
    ):
        told.instrument(pool)
        responses = await pool.send_all(["hi"] * 10)
        now = pool.statistics()
        assert told.value("http.client.open_connections", http_connection_state="idle") == now.connections.idle > 0
        assert told.value("http.client.open_connections", http_connection_state="active") == 0
    assert told.value("http.client.request.duration", http_response_status_code=200) == 10
    assert told.value("http.client.request.time_in_queue") == 10
    assert told.value("http.client.connection.duration") == now.connections.opened
    assert told.value("http.client.open_connections") == 0
    assert told.value("gen_ai.client.operation.duration", gen_ai_operation_name="chat") == 10
    [points] = [told.metrics()["gen_ai.client.token.usage"]]
    sums = {point.attributes["gen_ai.token.type"]: point.sum for point in points}
    assert sums["output"] == sum(response.usage.completion_tokens for response in responses if response.usage)
    assert told.value("swarmpool.pool.connections.created") == now.connections.opened
    assert told.value("swarmpool.pool.connections.reused") == now.connections.reused
    assert told.value("swarmpool.pool.endpoints", swarmpool_endpoint_state="closed") == 2


async def test_what_is_in_flight_and_waiting_is_read_when_it_is_collected(told: Told) -> None:
    arrived = asyncio.Event()

    def silent(_: RawConnection) -> None:
        arrived.set()

    async with RawAgent(silent) as agent, AgentPool([agent.endpoint], concurrency=1) as pool:
        told.instrument(pool)
        calls = [asyncio.ensure_future(pool.post(0, "hi")) for _ in range(3)]
        await arrived.wait()
        assert told.value("http.client.active_requests") == 1
        assert told.value("swarmpool.pool.requests.waiting") == 2
        assert told.value("http.client.open_connections", http_connection_state="active") == 1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert told.value("http.client.active_requests") == 0
    assert told.value("http.client.request.duration", error_type="cancelled") == 1
    assert told.value("gen_ai.client.operation.duration", error_type="CancelledError") == 3


async def test_each_try_is_a_request_of_its_own_below_one_call(told: Told) -> None:
    async with (
        Fleet(2) as fleet,
        over(fleet, retry=Retry(pause=0.01)) as pool,
    ):
        told.instrument(pool)
        fleet[0].script("2x unavailable", "ok", route="/v1/chat/*")
        assert (await pool.post(0, "hi")).attempts == 3
    [call] = named(told, "chat sim")
    requests = named(told, "POST /v1/chat/completions")
    assert {request.parent.span_id for request in requests} == {call.context.span_id}
    assert [request.attributes.get("error.type") for request in requests] == ["503", "503", None]
    assert [request.status.status_code for request in requests[1:]] == [StatusCode.ERROR, StatusCode.UNSET]
    assert call.attributes["swarmpool.attempts"] == 3
    assert "error.type" not in call.attributes
    assert told.value("swarmpool.pool.events", swarmpool_event="retried") == 2
    assert told.value("gen_ai.client.operation.duration") == 1


@pytest.mark.parametrize("fault", ["delay", "stall"])  # before the head of the answer, and in its body
async def test_the_try_that_lost_against_a_hedge_is_below_the_same_call(told: Told, fault: str) -> None:
    async with Fleet(2) as fleet:
        care: dict[str, Any] = {"hedge": Hedge(after=0.01, share=1.0), "routing": Sticky()}
        async with over(fleet, **care) as pool:
            told.instrument(pool)
            slow = (await pool.ask("hi", key="a")).tree_index
            async with fleet[slow].fault(fault, seconds="60s"):
                assert (await pool.ask("hi", key="a")).success
    last = named(told, "chat sim")[-1]
    below = [span for span in told.spans() if span.parent and span.parent.span_id == last.context.span_id]
    assert sorted(str(span.attributes.get("error.type")) for span in below) == ["None", "cancelled"]


async def test_a_stream_tells_its_time_to_first_text_and_its_parent(told: Told) -> None:
    async with Fleet(1) as fleet, over(fleet) as pool:
        told.instrument(pool)
        response = await pool.stream(0, "hi")
        assert response.success
    request, call = told.spans()
    assert request.parent.span_id == call.context.span_id
    [point] = told.metrics()["gen_ai.client.operation.time_to_first_chunk"]
    assert point.sum == pytest.approx(response.first_token_seconds)


async def test_a_stream_that_was_left_says_so(told: Told) -> None:
    async with Fleet(1, profile=SLOW) as fleet, over(fleet, max_tokens=50) as pool:
        told.instrument(pool)
        async with pool.stream(0, "hi") as stream:
            await anext(stream)
    request, call = told.spans()
    assert (request.attributes["error.type"], call.attributes["error.type"]) == ("cancelled", "abandoned")


async def test_a_stream_that_is_refused_a_slot_ends_its_call_once(told: Told) -> None:
    async with (
        Fleet(1) as fleet,
        over(fleet, concurrency=1, queue_timeout=0.01) as pool,
    ):
        told.instrument(pool)
        async with pool.stream(0, "hi") as stream:
            await anext(stream)
            with pytest.raises(QueueTimeout):
                await pool.stream(0, "hi")
    assert told.value("gen_ai.client.operation.duration", error_type="QueueTimeout") == 1
    assert told.value("gen_ai.client.operation.duration") == 2


async def test_batches_and_embeddings_have_their_own_operations(told: Told) -> None:
    async with Fleet(1) as fleet, over(fleet) as pool:
        told.instrument(pool)
        await pool.post_batch(0, ["a", "b"])
        await pool.embeddings("sim").embed_all(["a", "b", "c"])
    assert [span.name for span in told.spans() if span.parent is None] == ["text_completion sim", "embeddings sim"]
    async with Fleet(1) as fleet, EmbeddingPool(fleet.endpoints) as pool:
        told.instrument(pool)
        await pool.embed_one(0, "a")
    assert told.spans()[-1].name == "embeddings"


async def test_a_failure_on_the_wire_is_told_by_its_kind(told: Told) -> None:
    async with Fleet(1) as fleet, over(fleet) as pool:
        told.instrument(pool)
        async with fleet[0].fault("refuse"):
            assert (await pool.post(0, "hi")).kind == "connect"
        async with fleet[0].fault("unavailable"):
            assert (await pool.post(0, "hi")).status == 503
    errors = [(span.attributes["error.type"], span.parent is None) for span in told.spans()]
    assert errors == [("connect", False), ("connect", True), ("503", False), ("status", True)]


async def test_breakers_are_told_of(told: Told) -> None:
    async with (
        Fleet(2) as fleet,
        over(fleet, health=Health(failures=1)) as pool,
    ):
        told.instrument(pool)
        async with fleet[0].fault("refuse"):
            await pool.post(0, "hi")
        assert told.value("swarmpool.pool.endpoints", swarmpool_endpoint_state="open") == 1
        assert told.value("swarmpool.pool.endpoints", swarmpool_endpoint_state="closed") == 1
        assert told.value("swarmpool.pool.events", swarmpool_event="ejected") == 1


async def test_neither_prompts_nor_secrets_nor_servers_are_told(told: Told) -> None:
    async with Fleet(1) as fleet:
        options: dict[str, Any] = {"api_key": SECRET, "headers": {"X-Secret": SECRET}}
        async with over(fleet, **options) as pool:
            told.instrument(pool)
            response = await pool.post(0, f"my password is {SECRET}")
            async with fleet[0].fault("unavailable"):
                await pool.post(0, f"my password is {SECRET}")
    everything = told.everything()
    assert "chat sim" in everything
    assert SECRET not in everything
    assert response.text not in everything
    assert str(fleet.endpoints[0].port) not in {
        str(value) for span in told.spans() for value in span.attributes.values()
    }
    assert "server.address" not in everything


async def test_servers_are_told_where_that_is_asked_for(told: Told) -> None:
    async with Fleet(2) as fleet, over(fleet) as pool:
        told.instrument(pool, servers=True)
        await pool.broadcast_prompt("hi")
    ports = {server.port for server in fleet.endpoints}
    assert {point.attributes["server.port"] for point in told.metrics()["http.client.request.duration"]} == ports


async def test_a_request_carries_the_trace(told: Told) -> None:
    async with RawAgent(lambda connection: connection.write(says())) as agent, AgentPool([agent.endpoint]) as pool:
        observer = told.instrument(pool)
        await pool.post(0, "hi")
        observer.stop()
        told.instrument(pool, propagate=False)
        await pool.post(0, "hi")
        first, second = agent.connections[0].heads
    trace_id = f"{told.spans()[0].context.trace_id:032x}-{told.spans()[0].context.span_id:016x}"
    assert f"traceparent: 00-{trace_id}-".encode() in first.lower()
    assert b"traceparent" not in second.lower()


async def test_pools_of_one_name_are_added_up_and_others_told_apart(told: Told) -> None:
    async with Fleet(3) as fleet:
        pools = [VLLMPool([endpoint], "sim", 5, model_max_context=4096) for endpoint in fleet.endpoints]
        for pool, name in zip(pools, ("a", "a", "b"), strict=True):
            told.instrument(pool, name)
            await pool.post(0, "hi")
        assert told.value("swarmpool.pool.connections.created", swarmpool_pool_name="a") == 2
        assert told.value("swarmpool.pool.connections.created", swarmpool_pool_name="b") == 1
        for pool in pools:
            await pool.close()


async def test_after_stop_nothing_is_told_and_the_way_of_a_request_is_the_plain_one(told: Told) -> None:
    async with Fleet(1) as fleet, over(fleet) as pool:
        observer = told.instrument(pool.slice(0, 1))
        assert not pool._tree.care.plain
        with pytest.raises(RuntimeError, match="is instrumented already"):
            told.instrument(pool)
        observer.stop()
        observer.stop()
        assert pool._tree.care.plain
        await pool.post(0, "hi")
        assert told.spans() == []
        assert told.value("swarmpool.pool.connections.created") == 0
    with pytest.raises(PoolClosed):
        told.instrument(pool)


@pytest.mark.parametrize("seed", range(6))
def test_every_call_and_every_try_is_told_exactly_once_whatever_becomes_of_it(told: Told, seed: int) -> None:
    """Faults, cancelled callers, streams that are left, hedges and retries, in a simulated world."""
    chance = Random(seed)
    asked = 12

    async def one(pool: VLLMPool, number: int) -> None:
        kind = chance.choice(["post", "ask", "stream", "left"])
        if kind in ("post", "ask"):
            await pool.post(number % 3 if kind == "post" else None, "hi")
            return
        async with pool.stream(None, "hi") as stream:
            async for _ in stream:
                if kind == "left":
                    return

    async def work(fleet: Fleet, pool: VLLMPool) -> int:
        told.instrument(pool)
        for server in fleet:
            fault = chance.choice(["reset", "unavailable", "stall", "delay", "truncated"])
            server.script(f"2x {fault}", "ok", route="/v1/chat/*")
        calls = [asyncio.ensure_future(one(pool, number)) for number in range(asked)]
        await asyncio.sleep(chance.choice([0.001, 0.03, 1.0]))
        for call in calls[::3]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return sum(agent.sent for agent in pool.agent_statistics())

    care: dict[str, Any] = {"retry": Retry(unsafe=True, pause=0.01), "hedge": Hedge(after=0.5, share=1.0)}
    sent = played(work, 3, seed=seed, timeout=2.0, concurrency=4, health=Health(failures=9), **care)
    requests = named(told, "POST /v1/chat/completions")
    calls = named(told, "chat sim")
    assert told.under_way == 0
    assert (len(calls), len(requests)) == (asked, sent)
    assert {request.parent.span_id for request in requests} <= {call.context.span_id for call in calls}
    assert told.value("http.client.request.duration") == sent
    assert told.value("gen_ai.client.operation.duration") == asked
    assert told.value("http.client.active_requests") == 0


async def functions_run(pool: VLLMPool) -> set[tuple[str, str]]:
    """File and name of each function of swarmpool that a plain request runs."""
    run: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and "swarmpool" in path.parts:
            run.add((path.name, frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        assert (await pool.post(0, "hi", 5)).success
    finally:
        sys.setprofile(before)
    return run


async def test_a_plain_request_runs_nothing_of_this_unless_its_pool_is_instrumented(told: Told) -> None:
    watchers = {("observing.py", "observed"), ("sending.py", "_deliver"), ("exchanges.py", "_ask")}
    async with Fleet(1) as fleet, over(fleet) as pool:
        assert not await functions_run(pool) & watchers
        told.instrument(pool)
        assert watchers <= await functions_run(pool)


async def test_what_is_instrumented_answers_as_what_is_not(told: Told) -> None:
    async with (
        Fleet(3) as fleet,
        over(fleet) as plain,
        over(fleet) as pool,
    ):
        told.instrument(pool)
        prompts = [f"prompt {number}" for number in range(12)]
        found = [[(each.tree_index, each.text) for each in await one.send_all(prompts)] for one in (plain, pool)]
    assert found[0] == found[1]


def test_an_instrumented_pool_that_is_dropped_is_collected(told: Told) -> None:
    pool = AgentPool([("127.0.0.1", 1)])
    told.instrument(pool)
    tree = weakref.ref(pool._tree)
    del pool
    gc.collect()
    assert tree() is None
    assert told.value("swarmpool.pool.endpoints") == 0


def test_without_the_extra_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("swarmpool.telemetry")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'swarmpool\[otel\]'"):
        import swarmpool.telemetry  # noqa: F401 - the refusal is what is tested
