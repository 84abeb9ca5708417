"""A request is sent again where no agent has begun it, as often as its caller is told, and not before its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, check_all_ok, endpoints_of, figure, settled
from fleetsim.proofs.client import CountedOutcome, Outcome, Pool

__all__ = ["RETRY_AFTER", "RETRY_COUNT"]

RETRIES = frozenset({"retries"})
TRIES = 3
CROWD = 60
REFUSED = 0.2  # of the crowd's requests
ASKED = 1.0  # seconds of the Retry-After

# What a new connection's requests are answered with, how often one must be sent then, and whether it succeeds.
CASES: Final[Sequence[tuple[str, int, bool]]] = (
    ("unavailable", 2, True),
    ("2x unavailable", 3, True),
    (f"{2 * TRIES}x unavailable", TRIES, False),
    ("before_head", 1, False),
    ("before_head_rst", 1, False),
    ("truncated", 1, False),
    ("server_error", 1, False),
    ("bad_request", 1, False),
)


async def retry_count(stage: Stage) -> None:
    """Each case on a connection that is new, for one that has served may have been closed as idle; then a crowd."""
    told = 0
    async with stage.fleet(len(CASES)) as fleet:
        for server, (steps, sent, ok) in enumerate(CASES):
            fleet[server].script(steps)
            async with stage.pool(endpoints_of(fleet), tries=TRIES) as pool:
                [outcome] = await stage.finish([stage.start(pool.request(server, steps))])
            told += _check_case(stage, steps, outcome, fleet[server].ledger.requests, sent, ok)
    async with stage.fleet(4) as many:
        told += await _crowd(stage, many)
    stage.evidence.client = figure(attempts=told)
    stage.evidence.fleet = figure(requests=fleet.ledger.requests + many.ledger.requests)


def _check_case(stage: Stage, steps: str, outcome: Outcome | None, executed: int, sent: int, ok: bool) -> int:
    evidence = stage.evidence
    evidence.check(executed == sent, f"{steps}: the fleet got it {executed} times, not {sent}")
    if outcome is None:
        evidence.check(False, f"{steps}: no result")
        return 0
    evidence.check(outcome.ok is ok, f"{steps}: {'success' if outcome.ok else outcome.error} after {executed} times")
    attempts = _attempts(outcome)
    evidence.check(executed <= attempts, f"{steps}: the fleet got it {executed} times, the caller was told {attempts}")
    return attempts


def _attempts(outcome: Outcome | None) -> int:
    return 0 if outcome is None else cast("CountedOutcome", outcome).attempts


async def _crowd(stage: Stage, fleet: Fleet) -> int:
    """Many at once to agents that refuse some; returns the attempts they were told of in all."""
    async with stage.pool(endpoints_of(fleet), tries=10 * TRIES) as pool:
        with fleet.fault("unavailable", rate=REFUSED):
            tasks = [stage.start(pool.request(n % len(fleet), f"number {n}")) for n in range(CROWD)]
            outcomes = await stage.finish(tasks)
    check_all_ok(stage.evidence, outcomes, "one of a crowd of which some were refused")
    told, executed = sum(map(_attempts, outcomes)), fleet.ledger.requests
    stage.evidence.check(executed <= told, f"a crowd: the fleet got {executed} requests, the callers were told {told}")
    return told


async def retry_after(stage: Stage) -> None:
    """One slot: whoever waits for it has it as soon as its holder is refused, long before that one is served."""
    served: list[str] = []
    async with stage.fleet(1) as fleet, stage.pool(endpoints_of(fleet), concurrency=1, tries=TRIES) as pool:
        fleet[0].script(f"rate_limited;retry_after={ASKED:g}s", "ok")
        with fleet.hold():
            tasks = [stage.start(_noted(pool, "refused", served))]
            await stage.until(lambda: fleet.ledger.in_flight >= 1)
            tasks.append(stage.start(_noted(pool, "waiting", served)))
            await settled(lambda: fleet.ledger.in_flight)
        outcomes = await stage.finish(tasks)
    _check_waited(stage, fleet)
    check_all_ok(stage.evidence, outcomes)
    stage.evidence.check(
        served == ["waiting", "refused"], "the slot was held in the pause: who waited for it was served afterwards"
    )


async def _noted(pool: Pool, name: str, served: list[str]) -> Outcome:
    outcome = await pool.request(0, name)
    served.append(name)
    return outcome


def _check_waited(stage: Stage, fleet: Fleet) -> None:
    requests = fleet.ledger.request_records()
    refused, last = requests[0], requests[-1]
    waited = last.arrived_at - (refused.ended_at or refused.arrived_at)
    stage.evidence.client = f"waited {waited:.2f} s of {ASKED:g}"
    stage.evidence.fleet = figure(requests=len(requests))
    stage.evidence.check(waited >= ASKED, f"a Retry-After of {ASKED:g} s was waited for {waited:.2f} s")


RETRY_COUNT = Claim(
    "retry-count",
    "A request is sent again only where no agent has begun it, and never more often than its caller is told.",
    retry_count,
    needs=RETRIES,
)
RETRY_AFTER = Claim(
    "retry-after", "A Retry-After is waited for, and no slot is held meanwhile.", retry_after, needs=RETRIES
)
