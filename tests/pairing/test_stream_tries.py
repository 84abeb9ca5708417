"""Streams that begin again: before their first text, and never after it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest
from played import played

from fleetsim import Fleet, Profile
from simkernel.loop import SimLoop
from swarmpool import AgentUnavailable, PoolClosed, PoolEvent, VLLMPool
from swarmpool.health import Health
from swarmpool.hedging import Hedge
from swarmpool.retry import Retry


def test_a_stream_that_is_refused_begins_again_and_its_response_tells_of_it() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        script = fleet[0].script("2x unavailable", "ok")
        chunks = [chunk async for chunk in pool.stream(0, "hi")]
        script.assert_consumed()
        response = chunks[-1].response
        assert response is not None
        assert response.success
        assert response.text == "".join(chunk.text for chunk in chunks)
        assert [(attempt.status, attempt.tree_index) for attempt in response.earlier] == [(503, 0)] * 2
        assert response.attempts == 3
        now = pool.statistics().requests
        assert (now.succeeded, now.failed, now.abandoned_streams) == (1, 0, 0)

    played(work, retry=Retry())


def test_where_the_pool_chose_it_begins_again_elsewhere() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            response = await pool.stream(None, "hi")
        assert (response.success, response.agent_index, response.tree_index) == (True, 1, 1)
        assert [attempt.kind for attempt in response.earlier] == ["connect"]

    played(work, retry=Retry())


@pytest.mark.parametrize("fault", ["error_event", "truncated", "reset"])
def test_nothing_is_sent_again_once_there_was_text(fault: str) -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        rule = {"after": 2} if fault == "error_event" else {"after_chunks": 3}
        with fleet.fault(f"{fault};" + ";".join(f"{name}={value}" for name, value in rule.items())):
            response = await pool.stream(None, "hi")
        assert not response.success
        assert response.text
        assert (response.attempts, fleet.ledger.requests) == (1, 1)

    played(work, retry=Retry(unsafe=True))


def test_off_means_one_try() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            response = await pool.stream(0, "hi")
        assert (response.status, response.attempts, response.earlier) == (503, 1, ())
        assert pool.statistics().requests.failed == 1

    played(work)


def test_a_reader_who_leaves_in_the_pause_has_the_failure() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            stream = pool.stream(0, "hi")
            reading = asyncio.create_task(anext(stream))
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert stream.response is not None
        assert (stream.response.status, stream.response.attempts, stream.response.earlier) == (503, 1, ())
        assert pool.statistics().requests.failed == 1

    played(work, retry=Retry(pause=60.0, longest_pause=60.0, seconds=None))


def test_a_pool_that_closes_ends_the_pause_with_the_failure() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            reading = asyncio.ensure_future(pool.stream(0, "hi")._to_the_end())
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            await pool.close()
            response = await reading
        assert (response.status, response.attempts, response.earlier) == (503, 1, ())
        with pytest.raises(PoolClosed):
            assert pool.stream(None, "hi").response is None

    played(work, retry=Retry(pause=60.0, longest_pause=60.0, seconds=None))


def test_breakers_hear_of_streams_and_stop_them() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=2):
            for _ in range(2):
                assert (await pool.stream(0, "hi")).status == 503
            with pytest.raises(AgentUnavailable):
                await pool.stream(0, "hi")
        assert (await pool.stream(None, "hi")).tree_index == 1
        await asyncio.sleep(5.0)
        assert (await pool.stream(0, "hi")).success
        assert (await pool.stream(0, "hi")).success

    played(work, health=Health(failures=2))


def test_a_stream_left_in_the_middle_as_a_probe_leaves_the_next_to_probe() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            assert (await pool.stream(0, "hi")).status == 503
        await asyncio.sleep(5.0)
        async with pool.stream(0, "hi") as probing:
            await anext(probing)
            with pytest.raises(AgentUnavailable, match="a probe is under way"):
                await pool.stream(0, "hi")
        assert (await pool.stream(0, "hi")).success

    played(work, health=Health(failures=1))


def test_a_stream_that_is_never_read_holds_nothing() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        for _ in range(3):
            assert pool.stream(None, "hi").response is None
        assert (await pool.post(0, "hi")).success
        assert fleet.ledger.requests == 1

    played(work, health=Health(failures=1), retry=Retry(), concurrency=1)


# ------------------------------------------------------------------------------------------------ many at once


def test_many_streams_come_interleaved_and_each_is_whole() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        prompts = [f"prompt {number}" for number in range(6)]
        order, texts, responses = [], dict.fromkeys(range(6), ""), {}
        async for chunk in pool.stream_many(prompts):
            assert chunk.prompt_index is not None
            order.append(chunk.prompt_index)
            texts[chunk.prompt_index] += chunk.text
            if chunk.response is not None:
                responses[chunk.prompt_index] = chunk.response
        assert sorted(responses) == list(range(6))
        assert all(response.success for response in responses.values())
        assert {index: response.text for index, response in responses.items()} == texts
        assert [responses[index].prompt_index for index in range(6)] == list(range(6))
        assert [responses[index].tree_index for index in range(6)] == [0, 1, 0, 1, 0, 1]
        assert order != sorted(order)

    played(work)


def test_a_stream_that_fails_is_one_failure_among_many() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[1].fault("refuse"):
            last = [chunk async for chunk in pool.stream_many(["a", "b", "c"]) if chunk.response is not None]
        kinds = {chunk.prompt_index: chunk.response.kind for chunk in last if chunk.response is not None}
        assert kinds == {0: None, 1: "connect", 2: None}

    played(work)


def test_who_leaves_many_streams_early_leaves_nothing_under_way() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with aclosing(pool.stream_many(["a"] * 20)) as chunks:
            await anext(chunks)
        assert pool.statistics().admission.in_flight == 0
        assert pool.statistics().admission.waiting == 0

    played(work, concurrency=4)


def test_a_reader_that_is_slow_holds_many_streams_up() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        count = 0
        async for _ in pool.stream_many((f"prompt {number}" for number in range(40)), timeout=3600.0):
            count += 1
            if count == 1:
                await asyncio.sleep(60.0)
                assert fleet.ledger.requests <= 4
        assert fleet.ledger.requests == 40

    played(work, concurrency=4)


def test_refused_admission_is_a_failure_of_that_prompt() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("unavailable", times=1):
            assert (await pool.post(0, "hi")).status == 503
        last = [chunk async for chunk in pool.stream_many(["a", "b"]) if chunk.response is not None]
        assert {chunk.response.kind for chunk in last if chunk.response is not None} == {"unavailable"}

    played(work, 1, health=Health(failures=1))


@pytest.mark.parametrize(
    "care", [{"retry": Retry()}, {"health": Health()}, {"hedge": Hedge()}], ids=lambda care: next(iter(care))
)
def test_each_of_many_prompts_begins_with_the_agent_whose_turn_it_is(care: dict[str, Any]) -> None:
    """Where the pool had no routing they went by one turn for all calls: as `ask` does, not as `send_all` does."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert (await pool.ask("hi")).tree_index == 0
        order = {}
        async for chunk in pool.stream_many(["a", "b", "c", "d", "e", "f"]):
            if chunk.response is not None:
                order[chunk.prompt_index] = chunk.response.tree_index
        assert [order[index] for index in range(6)] == [0, 1, 2] * 2

    played(work, 3, **care)


def test_of_many_prompts_those_of_a_dead_agent_are_answered_by_another() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[1].fault("refuse"):
            last = [chunk.response async for chunk in pool.stream_many(["a"] * 6) if chunk.response is not None]
        assert [response.success for response in last] == [True] * 6
        assert {response.tree_index for response in last} == {0, 2}

    played(work, 3, retry=Retry())


# ------------------------------------------------------------------------------------------------ hedges

HEDGE = Hedge(after=0.5, share=1.0)


def figures(pool: VLLMPool) -> tuple[int, int, int, int]:
    """Succeeded, failed, hedged, and won by the second."""
    now = pool.statistics()
    return now.requests.succeeded, now.requests.failed, now.care.hedged, now.care.hedge_won


def test_a_stream_that_says_nothing_for_long_is_overtaken_and_leaves_nothing() -> None:
    seen: list[PoolEvent] = []

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="60s"):
            begun = asyncio.get_running_loop().time()
            async with pool.stream(None, "hi") as stream:
                first = await anext(stream)
                assert pool.statistics().admission.in_flight == 1  # the loser's slot is back already
                rest = [chunk async for chunk in stream]
            assert asyncio.get_running_loop().time() - begun < 1.0
        response = stream.response
        assert response is not None
        assert response is rest[-1].response
        assert response.text == first.text + "".join(chunk.text for chunk in rest) == stream.text
        assert (response.success, response.tree_index, response.agent_index, response.attempts) == (True, 1, 1, 2)
        assert [(attempt.tree_index, attempt.kind) for attempt in response.earlier] == [(0, None)]
        assert [(event.kind, event.agent) for event in seen] == [("hedged", 1), ("hedge_won", 1)]
        assert figures(pool) == (1, 0, 1, 1)

    played(work, hedge=HEDGE, on_event=seen.append)


def test_the_first_stream_may_still_win() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet[1].fault("delay", seconds="60s"):
            response = await pool.stream(None, "hi")
        assert (response.success, response.tree_index) == (True, 0)
        assert [attempt.tree_index for attempt in response.earlier] == [1]
        assert figures(pool) == (1, 0, 1, 0)

    played(work, hedge=HEDGE)


def test_a_second_stream_that_fails_does_not_end_the_first() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet[1].fault("unavailable"):
            response = await pool.stream(None, "hi")
        assert (response.success, response.tree_index) == (True, 0)
        assert [(attempt.tree_index, attempt.status) for attempt in response.earlier] == [(1, 503)]
        assert figures(pool) == (1, 0, 1, 0)

    played(work, hedge=HEDGE)


def test_where_both_streams_fail_there_is_one_failure() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet.fault("server_error"):
            response = await pool.stream(None, "hi")
        assert (response.success, response.status, response.attempts) == (False, 500, 2)
        assert figures(pool) == (0, 1, 1, 0)

    played(work, hedge=HEDGE)


def test_a_stream_that_speaks_soon_is_not_hedged_however_long_it_goes_on() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        response = await pool.stream(None, "hi", 400)
        assert response.success
        assert response.wire_seconds > 1.0
        assert figures(pool) == (1, 0, 0, 0)

    played(work, profile=Profile(ttft=0.1, itl=0.1), hedge=HEDGE)


def test_a_named_agents_stream_is_not_hedged() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="5s"):
            assert (await pool.stream(0, "hi")).attempts == 1

    played(work, hedge=HEDGE)


def test_a_reader_cancelled_in_the_race_leaves_neither_stream() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("delay", seconds="60s"):
            stream = pool.stream(None, "hi")
            reading = asyncio.create_task(anext(stream))
            await fleet.ledger.wait_for(requests=2)
            with pytest.raises(RuntimeError, match="another task is reading"):
                await stream.aclose()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert pool.statistics().admission.in_flight == 0
        assert stream.response is not None
        assert stream.response.kind == "abandoned"
        assert figures(pool) == (0, 1, 1, 0)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    played(work, hedge=HEDGE)


def test_a_hedged_stream_left_after_its_first_text_is_abandoned_once() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="60s"):
            async with pool.stream(None, "hi") as stream:
                await anext(stream)
        assert stream.response is not None
        assert (stream.response.kind, len(stream.response.earlier)) == ("abandoned", 1)
        assert pool.statistics().requests.abandoned_streams == 1
        assert figures(pool) == (0, 1, 1, 1)

    played(work, hedge=HEDGE)


def test_a_hedged_stream_that_gets_no_slot_raises() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("unavailable", times=1):
            assert (await pool.post(0, "hi")).status == 503
        with pytest.raises(AgentUnavailable):
            await pool.stream(None, "hi")
        assert figures(pool) == (0, 1, 0, 0)

    played(work, 1, hedge=HEDGE, health=Health(failures=1))


def test_a_hedged_stream_dropped_after_its_first_text_gives_all_back() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="60s"):
            stream = pool.stream(None, "hi")
            await anext(stream)
            del stream
            assert pool.statistics().admission.in_flight == 0

    played(work, hedge=HEDGE)


def test_a_stream_in_the_race_may_be_tried_again() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        fleet[0].script("unavailable", "ok")
        fleet[1].script("unavailable", "ok")
        response = await pool.stream(None, "hi")
        assert response.success
        assert response.attempts == len(response.earlier) + 1 == fleet.ledger.requests

    played(work, hedge=HEDGE, retry=Retry())


@pytest.mark.parametrize("delay", ["0.53s", "60s"])
def test_a_hedged_stream_cancelled_at_any_instant_leaves_nothing(delay: str) -> None:
    """From the instant at which the second stream begins, on to the end of both."""

    async def work(fleet: Fleet, pool: VLLMPool) -> bool:
        loop = cast(SimLoop, asyncio.get_running_loop())
        with fleet[0].fault("delay", seconds=delay):
            reading = asyncio.ensure_future(pool.stream(None, "hi")._to_the_end())
            await asyncio.sleep(0.5 + 0.0007 * step)
            loop.call_after_turns(step % 4, reading.cancel)
            done = (await asyncio.gather(reading, return_exceptions=True))[0]
            assert pool.statistics().admission.in_flight == 0
        now = pool.statistics().requests
        assert now.succeeded + now.failed == 1
        return not isinstance(done, asyncio.CancelledError)

    step = 0
    while not played(work, hedge=HEDGE, seed=step, dials_cancelled=True):
        step += 1
    assert step > 20
