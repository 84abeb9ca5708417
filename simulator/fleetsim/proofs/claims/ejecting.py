"""An agent that is dead is left alone, and an agent that is back gets its requests again."""

from __future__ import annotations

import asyncio

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, check_all_ok, endpoints_of, failures, figure, joined, settled
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["EJECT_RETURN"]

FAILURES = 3
MORE = 20
FOR_GOOD = 3600.0  # seconds
FOR_A_MOMENT = 0.1  # seconds
DEAD, ALIVE = 0, 1


async def eject_return(stage: Stage) -> None:
    """First an agent that stays dead, then one that comes back."""
    async with stage.fleet(2) as fleet:
        await _dead(stage, fleet)
        await _back(stage, fleet)


async def _dead(stage: Stage, fleet: Fleet) -> None:
    evidence, witness = stage.evidence, stage.witness
    options = {"eject_after": FAILURES, "eject_seconds": FOR_GOOD}
    async with fleet[DEAD].fault("refuse"), stage.pool(endpoints_of(fleet), **options) as pool:
        before = witness.attempts
        outcomes = [await pool.request(DEAD, f"to the dead {n}") for n in range(FAILURES + MORE)]
        tried = witness.attempts - before
        check_all_ok(evidence, [await pool.request(ALIVE, f"to the living {n}") for n in range(MORE)], "beside it one")
    evidence.client = figure(calls=len(outcomes), tries=tried)
    evidence.check(len(failures(outcomes)) == len(outcomes), "a request to a dead agent was called a success")
    evidence.check(tried == FAILURES, f"a dead agent was tried {tried} times, not {FAILURES}")


async def _back(stage: Stage, fleet: Fleet) -> None:
    """It refuses until it is ejected; then its answers are held, so that all who come with the probe can be seen."""
    evidence, ledger = stage.evidence, fleet[DEAD].ledger
    options = {"eject_after": FAILURES, "eject_seconds": FOR_A_MOMENT}
    async with stage.pool(endpoints_of(fleet), **options) as pool:
        with fleet[DEAD].fault("unavailable"):
            refused = [await pool.request(DEAD, f"refused {n}") for n in range(FAILURES)]
        evidence.check(len(failures(refused)) == FAILURES, "a refused request was called a success")
        with fleet[DEAD].hold():
            probing = await _probed(stage, pool, fleet)
            crowd = [stage.start(pool.request(DEAD, f"beside the probe {n}")) for n in range(MORE)]
            await settled(lambda: ledger.in_flight)
            there = ledger.in_flight
        evidence.check(there <= 1, f"an agent that may be back was sent {there} requests at once, not 1")
        await stage.finish([*probing, *crowd])
        if evidence.check(there > 0, "an agent that is back got no request"):
            after = [await pool.request(DEAD, f"afterwards {n}") for n in range(MORE)]
            check_all_ok(evidence, after, "to an agent that is back one")
    evidence.client = joined(evidence.client, figure(at_its_return=there))
    evidence.fleet = figure(requests=fleet.ledger.requests)


async def _probed(stage: Stage, pool: Pool, fleet: Fleet) -> list[asyncio.Task[Outcome]]:
    """Ask again and again until one request is at the agent, or patience is at its end."""
    asked: list[asyncio.Task[Outcome]] = []

    def is_there() -> bool:
        if fleet[DEAD].ledger.in_flight:
            return True
        if not asked or asked[-1].done():
            asked.append(stage.start(pool.request(DEAD, "is it back?")))
        return False

    await stage.until(is_there)
    return asked


EJECT_RETURN = Claim(
    "eject-return",
    f"An agent that has failed {FAILURES} times is left alone; then one request tries it, and it gets all again.",
    eject_return,
    needs=frozenset({"breakers"}),
)
