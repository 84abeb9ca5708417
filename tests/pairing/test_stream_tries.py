"""Streams that begin again: before their first text, and never after it."""

from __future__ import annotations

import asyncio

import pytest
from played import played

from fleetsim import Fleet
from swarmpool import AgentUnavailable, PoolClosed, VLLMPool
from swarmpool.health import Health
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
