"""A call that a pool takes care of is cancelled at every turn of the loop; each time all that it had must be back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step

from fleetsim.fleet import Fleet
from swarmpool import Adaptive, BreakerState, Health, Hedge, Retry, VLLMPool

Work = Callable[[VLLMPool], Coroutine[Any, Any, object]]

AGAIN = Retry(pause=0.001, jitter=0.0)
TWICE = Hedge(after=0.0005, share=1.0)
SOON = Health(failures=1, open_seconds=0.0005)
BY_HEALTH = Health(failures=1, open_seconds=0.0005, probe="health")


async def post(pool: VLLMPool) -> None:
    await pool.post(0, "the victim")


async def ask(pool: VLLMPool) -> None:
    await pool.ask("the victim")


async def stream(pool: VLLMPool) -> None:
    async for _ in pool.stream(None, "the victim"):
        pass


async def stream_many(pool: VLLMPool) -> None:
    async for _ in pool.stream_many(["one", "two", "three"]):
        pass


async def batched(pool: VLLMPool) -> None:
    await pool.send_all_batched(["one", "two", "three"])


async def wait_ready(pool: VLLMPool) -> None:
    assert len((await pool.wait_ready(60.0, interval=0.001)).ready) == 2


async def prewarm(pool: VLLMPool) -> None:
    await pool.prewarm(2)


@asynccontextmanager
async def failing(fleet: Fleet, work: Work, options: dict[str, Any]) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """The first answer of agent 0 is a 503, and the others take a moment."""
    known: dict[str, Any] = {"model": "sim", "max_tokens": 2, "model_max_context": 4096, "concurrency": 3}
    tasks = asyncio.all_tasks()
    async with VLLMPool(fleet.endpoints, **known, **options) as pool:
        with fleet.fault("delay", seconds="0.001s"), fleet[0].fault("unavailable", times=1):
            yield work(pool)
        await balanced(pool)
    assert pool.statistics().connections.open == 0
    await fleet.ledger.wait_for(open_now=0, in_flight=0)
    assert asyncio.all_tasks() <= tasks | {asyncio.current_task()}


async def balanced(pool: VLLMPool) -> None:
    """Nothing is held by the victim, and every agent can be had again."""
    care = {agent.breaker for agent in pool.agent_statistics()}
    if BreakerState.HALF_OPEN not in care:  # else a probe of the pool's own is under way
        moment = pool.statistics()
        assert (moment.admission.in_flight, moment.admission.waiting) == (0, 0)
        assert (moment.connections.acquired, moment.connections.dialing) == (0, 0)
    async with asyncio.timeout(30):
        while {agent.breaker for agent in pool.agent_statistics()} != {BreakerState.CLOSED}:
            await asyncio.sleep(0.0005)
            await pool.send_all(["afterwards"] * 2)
    assert all([(await pool.post(place, "afterwards")).success for place in range(2)])
    assert {agent.load for agent in pool.agent_statistics()} == {0}


@pytest.mark.parametrize(
    ("work", "options"),
    [
        (post, {"retry": AGAIN}),
        (post, {"retry": AGAIN, "health": SOON}),
        (ask, {"retry": AGAIN, "health": SOON, "hedge": TWICE}),
        (ask, {"retry": AGAIN, "health": BY_HEALTH}),
        (ask, {"hedge": TWICE, "adaptive": Adaptive(initial=1)}),
        (batched, {"retry": AGAIN, "health": SOON, "hedge": TWICE}),
        (stream, {"retry": AGAIN}),
        (stream, {"retry": AGAIN, "health": SOON, "adaptive": Adaptive(initial=1)}),
        (stream, {"retry": AGAIN, "health": SOON, "hedge": TWICE}),
        (stream_many, {"retry": AGAIN, "health": SOON}),
        (wait_ready, {}),
        (prewarm, {}),
        (prewarm, {"adaptive": Adaptive(initial=1)}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value.__name__,
)
async def test_a_call_with_care_cancelled_at_any_step_loses_nothing(work: Work, options: dict[str, Any]) -> None:
    async with Fleet(2, seed=1, ending="eager") as fleet:
        steps = await cancel_at_every_step(partial(failing, fleet, work, options))
    assert steps > 5
