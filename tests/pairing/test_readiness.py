"""Waiting for agents that start, and connections opened before the first prompt, in a simulated world."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from played import played

from fleetsim import Fleet
from swarmpool import Adaptive, EmptyPool, PoolClosed, VLLMPool
from swarmpool.progress import Progress


def test_all_are_waited_for() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        moments: list[Progress] = []
        async with fleet[1].fault("refuse", for_="20s"):
            found = await pool.wait_ready(60.0, progress=moments.append)
        assert [endpoint.port for endpoint in found.ready] == [endpoint.port for endpoint in pool.endpoints]
        assert found.missing == ()
        assert 20.0 <= found.seconds <= 26.0
        assert [(moment.done, moment.total) for moment in moments] == [(1, 3), (2, 3), (3, 3)]

    played(work, 3)


def test_enough_is_enough() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            found = await pool.wait_ready(60.0, minimum=2)
        assert len(found.ready) == 2
        assert found.seconds < 1.0

    played(work, 3)


def test_after_the_timeout_the_missing_are_named_with_reasons() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            with fleet[1].fault("unavailable", where={"route": "/health"}):
                found = await pool.wait_ready(10.0)
        assert [endpoint.port for endpoint in found.ready] == [fleet[2].port]
        assert found.seconds == pytest.approx(10.0, abs=0.01)
        (refused, why_refused), (unwell, why_unwell) = found.missing
        assert (refused.port, unwell.port) == (fleet[0].port, fleet[1].port)
        assert why_refused.startswith("connect: ")
        assert why_unwell == "status 503"

    played(work, 3)


def test_an_agent_that_says_nothing_does_not_hold_up_the_others() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="60s"):
            found = await pool.wait_ready(3.0)
        assert len(found.ready) == 2
        assert [why for _, why in found.missing] == ["no answer yet"]

    played(work, 3)


def test_a_pool_that_closes_ends_the_wait() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            waiting = asyncio.create_task(pool.wait_ready(3600.0))
            await asyncio.sleep(10.0)
            await pool.close()
            with pytest.raises(PoolClosed):
                await waiting

    played(work)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"minimum": 0}, "minimum must be at least 1, not 0"),
        ({"minimum": 3}, "minimum must be at most the 2 agents of this view, not 3"),
        ({"interval": -1}, "interval must be a number of seconds above 0"),
        ({"progress": 1}, "progress must be"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, object], error: str) -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with pytest.raises((TypeError, ValueError), match=f"^{error}"):
            await pool.wait_ready(**{"timeout": 1.0, **options})  # type: ignore[arg-type]  # what is tested

    played(work)


def test_an_empty_view_has_nobody_to_wait_for() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with pytest.raises(EmptyPool):
            await pool.slice(0, 0).wait_ready(1.0)
        with pytest.raises(EmptyPool):
            await pool.slice(0, 0).prewarm()

    played(work)


@pytest.mark.parametrize("per_agent", [1, 3])
def test_prewarmed_connections_serve_the_first_prompts(per_agent: int) -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert await pool.prewarm(per_agent) == 4 * per_agent
        now = pool.statistics().connections
        assert (now.opened, now.idle) == (4 * per_agent, 4 * per_agent)
        await asyncio.gather(*[pool.post(place % 4, "hi") for place in range(4 * per_agent)])
        now = pool.statistics().connections
        assert (now.opened, now.reused) == (4 * per_agent, 4 * per_agent)
        assert pool.statistics().requests.succeeded == 4 * per_agent

    played(work, 4)


def test_prewarming_keeps_within_the_limits() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert await pool.prewarm(2) == 4
        now = pool.statistics().connections
        assert (now.opened, now.peak_open, now.closed) == (4, 4, 0)

    played(work, 4, connector_limit=5)


def test_prewarming_keeps_within_the_cap_of_an_agent() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert await pool.prewarm(9) == 8

    played(work, 4, concurrency_per_agent=2)


def test_an_agent_that_is_away_is_passed_over() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[1].fault("refuse"):
            assert await pool.prewarm() == 3

    played(work, 4)


def test_a_prewarming_that_is_cancelled_leaves_nothing_under_way() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("delay", seconds="60s"):
            warming = asyncio.create_task(pool.prewarm(2))
            await fleet.ledger.wait_for(requests=2)
            warming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await warming
            assert pool.statistics().admission.in_flight == 0

    played(work, 4, concurrency=3)


@pytest.mark.parametrize("limits", [{"queue_timeout": 0.5}, {"max_waiting": 0}], ids=lambda limits: next(iter(limits)))
def test_a_pool_that_has_no_slot_just_now_does_not_end_the_wait(limits: dict[str, Any]) -> None:
    """`QueueTimeout` is a TimeoutError, and was taken for the end of the time: nobody had been asked."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="10s", times=1):
            blocking = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            found = await pool.wait_ready(60.0)
            assert len(found.ready) == 2
            assert 9.0 < found.seconds < 20.0
            assert (await blocking).success

    played(work, concurrency=1, **limits)


def test_a_progress_callback_may_raise_a_timeout_of_its_own() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        def progress(_: Progress) -> None:
            raise TimeoutError("a callback's")

        with pytest.raises(TimeoutError, match="a callback's"):
            await pool.wait_ready(60.0, progress=progress)

    played(work)


def test_prewarming_keeps_within_what_an_agent_bears() -> None:
    """It waited for slots that nobody could give back but itself."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert await asyncio.wait_for(pool.prewarm(3), 60.0) == 4

    played(work, adaptive=Adaptive(initial=2))


def test_prewarming_holds_no_slot_while_it_waits_for_another() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="600s", times=1):
            blocking = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            assert await asyncio.wait_for(pool.prewarm(2), 60.0) == 1
            assert (await pool.post(0, "hi")).success
            blocking.cancel()
            await asyncio.wait([blocking])

    played(work, 1, concurrency=2)
