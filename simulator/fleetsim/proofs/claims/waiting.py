"""Who waits is served, in order of arrival, whatever the others do."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, endpoints_of, failures
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["NO_STRANDED_WAITER"]

TICKS = 8
QUEUE_TICKS = 30  # turns of the loop in which a new request has joined the queue
AGENTS = 20
WAITERS = 300
LONGEST = 0.4  # seconds a waiter with a time limit waits at most


async def no_stranded_waiter(stage: Stage) -> None:
    """The scripted tick first, then the crowd."""
    stranded = await _scripted(stage)
    inversions, served, gave_up = await _crowd(stage)
    stage.evidence.client = f"{served} served, {gave_up} gave up, {inversions} overtook"
    stage.evidence.fleet = f"{TICKS} scripted ticks, stranded at: {stranded if stranded is not None else 'none'}"
    if stranded is not None:
        stage.evidence.check(
            False, f"a waiter cancelled {stranded} tick after its slot came free stranded the next one"
        )
    stage.evidence.check(inversions == 0, f"{inversions} of {served} waiters were served before an earlier one")


async def _scripted(stage: Stage) -> int | None:
    """The tick at which a cancelled waiter strands the next; None if at none. One of them is the tick of its waking."""
    async with stage.fleet(1) as fleet:
        for tick in range(TICKS):
            async with stage.pool(endpoints_of(fleet), concurrency=1) as pool:
                if not await _next_is_served(stage, fleet, pool, tick):
                    return tick
    return None


async def _next_is_served(stage: Stage, fleet: Fleet, pool: Pool, tick: int) -> bool:
    with fleet.hold():
        holder = stage.start(pool.request(0, "holds the slot"))
        await stage.until(lambda: fleet.ledger.in_flight >= 1)
        woken = stage.start(pool.request(0, "is woken and cancelled"))
        after = stage.start(pool.request(0, "is next"))
        await _turns(QUEUE_TICKS)
        holder.cancel()
        await _turns(tick)
        woken.cancel()
        await _turns(QUEUE_TICKS)
    [outcome] = await stage.finish([after])
    return outcome is not None and outcome.ok


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def _wait(pool: Pool, number: int, patience: float | None, served: list[int]) -> Outcome | None:
    """Ask once and note the number when served; None for a waiter that gave up after `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            outcome = await pool.request(number % AGENTS, f"waiter {number}")
    except TimeoutError:
        return None
    served.append(number)
    return outcome


async def _crowd(stage: Stage) -> tuple[int, int, int]:
    """How many overtook, were served, and gave up, of a crowd at one slot over many agents."""
    served: list[int] = []
    patience = {n: stage.rng.uniform(0, LONGEST) for n in range(WAITERS) if stage.rng.random() < 1 / 3}
    async with stage.fleet(AGENTS) as fleet, stage.pool(endpoints_of(fleet), concurrency=1) as pool:
        with fleet.hold():
            holder = stage.start(pool.request(0, "holds the slot"))
            await stage.until(lambda: fleet.ledger.in_flight >= 1)
            tasks = [asyncio.create_task(_wait(pool, n, patience.get(n), served)) for n in range(WAITERS)]
            await _turns(QUEUE_TICKS)
        stage.tasks += tasks
        await stage.finish([holder])
        done, pending = await asyncio.wait(tasks, timeout=30)
        stage.evidence.check(not pending, f"{len(pending)} of {WAITERS} waiters were never served")
        problems = failures([task.result() for task in done if not task.cancelled() and task.result() is not None])
        stage.evidence.check(not problems, f"{len(problems)} waiters failed: {problems[:1]}")
    inversions = sum(later < earlier for earlier, later in pairwise(served))
    return inversions, len(served), WAITERS - len(served)


NO_STRANDED_WAITER = Claim(
    "no-stranded-waiter",
    f"A woken waiter cancelled in the same tick strands nobody, and {WAITERS} waiters are served in order of arrival.",
    no_stranded_waiter,
)
