"""Who waits is served, in order of arrival, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Evidence, Stage, counted, endpoints_of, failures, totals
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["NO_STRANDED_WAITER"]

TICKS = 8
QUEUE_TICKS = 30  # turns of the loop in which a new request has joined the queue
AGENTS = 20
WAITERS = 300
LONGEST = 0.4  # seconds a waiter with a time limit waits at most


async def no_stranded_waiter(stage: Stage) -> None:
    """The scripted ticks first, then the crowd; a client that has stranded one waiter would strand the crowd too."""
    async with stage.fleet(AGENTS) as fleet:
        stranded = await _scripted(stage, fleet)
        if stranded is None:
            await _crowd(stage, fleet)
        else:
            stage.evidence.client = f"stranded a waiter at scripted tick {stranded + 1} of {TICKS}"
            ticks = counted(stranded, "tick")
            stage.evidence.check(False, f"a waiter cancelled {ticks} after its slot came free stranded the next one")
        stage.evidence.fleet = totals(fleet.ledger)


async def _scripted(stage: Stage, fleet: Fleet) -> int | None:
    """The tick at which a cancelled waiter strands the next; None if at none. One of them is the tick of its waking."""
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


async def _crowd(stage: Stage, fleet: Fleet) -> None:
    """A crowd at one slot over many agents, a third of it with time limits."""
    served: list[int] = []
    patience = {n: stage.rng.uniform(0, LONGEST) for n in range(WAITERS) if stage.rng.random() < 1 / 3}
    await stage.until(lambda: fleet.ledger.in_flight == 0)
    async with stage.pool(endpoints_of(fleet), concurrency=1) as pool:
        with fleet.hold():
            holder = stage.start(pool.request(0, "holds the slot"))
            await stage.until(lambda: fleet.ledger.in_flight >= 1)
            tasks = [asyncio.create_task(_wait(pool, n, patience.get(n), served)) for n in range(WAITERS)]
            await _turns(QUEUE_TICKS)
        stage.tasks += tasks
        await stage.finish([holder])
        _check_crowd(stage.evidence, tasks, await _left_waiting(stage, tasks))
    _check_order(stage.evidence, served)


async def _left_waiting(stage: Stage, tasks: Sequence[asyncio.Task[Outcome | None]]) -> int:
    """How many are not served; patience begins anew with each that is, for a slow client is not a stuck one."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, timeout=stage.patience, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            stage.lose_patience()
            break
    return len(pending)


def _check_crowd(evidence: Evidence, tasks: Sequence[asyncio.Task[Outcome | None]], left: int) -> None:
    evidence.check(not left, f"{left} of {WAITERS} waiters were never served")
    ended = [task.result() for task in tasks if task.done() and not task.cancelled()]
    problems = failures([outcome for outcome in ended if outcome is not None])
    evidence.check(not problems, f"{counted(len(problems), 'waiter')} failed: {problems[:1]}")


def _check_order(evidence: Evidence, served: Sequence[int]) -> None:
    inversions = sum(later < earlier for earlier, later in pairwise(served))
    evidence.client = f"{len(served)} served, {WAITERS - len(served)} gave up, {inversions} overtook"
    evidence.check(inversions == 0, f"{inversions} of {len(served)} waiters were served before an earlier one")


NO_STRANDED_WAITER = Claim(
    "no-stranded-waiter",
    f"A waiter cancelled at any of {TICKS} ticks about its waking strands nobody; {WAITERS} are served in order.",
    no_stranded_waiter,
)
