"""A request sent to a second agent because the first is slow: of the one that loses nothing may stay behind."""

from __future__ import annotations

from typing import cast

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, check_all_ok, check_slots, endpoints_of, figure
from fleetsim.proofs.client import HedgingPool

__all__ = ["HEDGE_LOSER"]

ROUNDS = 10
AGENTS = 2
SLOTS = 3
HEDGE_AFTER = 0.03  # seconds
STUCK = "3600s"


async def hedge_loser(stage: Stage) -> None:
    """The first try of each request is stuck for an hour; at last both are, and the caller goes."""
    options = {"concurrency": SLOTS, "hedge_after": HEDGE_AFTER}
    async with stage.fleet(AGENTS) as fleet, stage.pool(endpoints_of(fleet), **options) as plain:
        pool, evidence = cast("HedgingPool", plain), stage.evidence
        for number in range(ROUNDS):
            if evidence.problems:
                return
            await _hedged(stage, fleet, pool, number)
        requests = fleet.ledger.requests
        evidence.check(requests == 2 * ROUNDS, f"{ROUNDS} slow requests were sent {requests} times, not {2 * ROUNDS}")
        await check_slots(stage, fleet, pool, SLOTS, after="hedged requests")
        await _both_left(stage, fleet, pool)
        await check_slots(stage, fleet, pool, SLOTS, after="a cancelled race")
        evidence.client = figure(hedged=ROUNDS + 1, sockets=stage.witness.open_now)
        evidence.fleet = figure(requests=fleet.ledger.requests, in_flight=fleet.ledger.in_flight)


async def _hedged(stage: Stage, fleet: Fleet, pool: HedgingPool, number: int) -> None:
    with fleet.fault("delay", seconds=STUCK, times=1):
        check_all_ok(stage.evidence, await stage.finish([stage.start(pool.ask(f"number {number}"))]), "hedged, one")
    await _check_gone(stage, fleet, "a hedged request", idle=AGENTS)


async def _both_left(stage: Stage, fleet: Fleet, pool: HedgingPool) -> None:
    """The caller is cancelled while both tries are under way."""
    before, idle = fleet.ledger.requests, stage.witness.open_now
    with fleet.fault("delay", seconds=STUCK, times=2):
        task = stage.start(pool.ask("left by its caller"))
        raced = await stage.until(lambda: fleet.ledger.requests == before + 2)
        stage.evidence.check(raced and not task.done(), "a request that was slow twice was not left at two agents")
        task.cancel()
        await stage.ended([task])
        await _check_gone(stage, fleet, "a cancelled race", idle)


async def _check_gone(stage: Stage, fleet: Fleet, what: str, idle: int) -> None:
    """Nothing is at work, and no socket is open that is not idle: of those there are `idle` at most."""
    over = await stage.until(lambda: fleet.ledger.in_flight == 0)
    stage.evidence.check(over, f"after {what}: {fleet.ledger.in_flight} in flight at the agents")
    closed = await stage.until(lambda: stage.witness.open_now <= idle)
    stage.evidence.check(closed, f"after {what}: {stage.witness.open_now} sockets open, not {idle} at most")


HEDGE_LOSER = Claim(
    "hedge-loser",
    "Of a request sent to a second agent the slower try leaves no slot, no socket and no work behind.",
    hedge_loser,
    needs=frozenset({"hedges"}),
)
