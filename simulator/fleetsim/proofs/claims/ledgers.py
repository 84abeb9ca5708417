"""The strongest claim: after thousands of requests of every sort, both ends have counted the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Evidence, Stage, endpoints_of, figure, settled
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["LEDGERS_AGREE"]

REQUESTS = 5_000
AGENTS = 32
SLOTS = 24
SOCKETS = 24  # fewer than agents, so that idle connections are closed to make room
WORKERS = 2 * SLOTS
CANCELLED = 20
ENDINGS: Final = (
    "eager",
    "split;gap=0",
    "delayed;seconds=2ms",
    "close",
    "until_close",
    "truncated",
    "reset",
    "before_head",
)
STUCK = AGENTS - 1  # the server whose requests are cancelled, so that each is known to have arrived before


async def ledgers_agree(stage: Stage) -> None:
    """A mixed run over agents with every ending, with evictions, streams left early and cancelled requests."""
    async with stage.fleet(AGENTS) as fleet:
        for index in range(AGENTS):
            fleet[index].ending = "never" if index == STUCK else ENDINGS[index % len(ENDINGS)]
        async with stage.pool(endpoints_of(fleet), concurrency=SLOTS, connector_limit=SOCKETS) as pool:
            await _mixed_run(stage, fleet, pool)
            await settled(lambda: (fleet.ledger.opened, fleet.ledger.closed, pool.counts().closed))
            compare(stage.evidence, fleet, pool, "when quiet")
            _show(stage.evidence, fleet, pool)
        await stage.until(lambda: fleet.ledger.open_now == 0)
        compare(stage.evidence, fleet, pool, "after close")


def compare(evidence: Evidence, fleet: Fleet, pool: Pool, when: str) -> None:
    """Check each count of the client against the fleet's."""
    ledger, counts = fleet.ledger, pool.counts()
    pairs = {
        "opened": (counts.opened, ledger.opened),
        "closed": (counts.closed, ledger.closed),
        "reused": (counts.reused, ledger.reused),
        "open": (counts.open, ledger.open_now),
    }
    for word, (own, seen) in pairs.items():
        evidence.check(own == seen, f"{when} the client counts {own} {word}, the fleet {seen}")


def _show(evidence: Evidence, fleet: Fleet, pool: Pool) -> None:
    ledger, counts = fleet.ledger, pool.counts()
    evidence.client = figure(opened=counts.opened, closed=counts.closed, reused=counts.reused)
    evidence.fleet = figure(opened=ledger.opened, closed=ledger.closed, reused=ledger.reused, requests=ledger.requests)
    evidence.check(ledger.requests >= REQUESTS, f"only {ledger.requests} of {REQUESTS} requests arrived")


async def _mixed_run(stage: Stage, fleet: Fleet, pool: Pool) -> None:
    kinds = iter(stage.rng.choices(("request", "stream", "leave"), weights=(70, 25, 5), k=REQUESTS))
    popular = [10 if agent < len(ENDINGS) else 1 for agent in range(STUCK)]
    agents = stage.rng.choices(range(STUCK), weights=popular, k=REQUESTS)
    work = iter(list(enumerate(zip(kinds, agents, strict=True))))
    workers = [asyncio.create_task(_worker(pool, work)) for _ in range(WORKERS)]
    stage.tasks += workers
    for n in range(CANCELLED):
        await _cancel_one(stage, fleet, pool, n)
    await asyncio.gather(*workers)


async def _worker(pool: Pool, work: Iterator[tuple[int, tuple[str, int]]]) -> None:
    for number, (kind, agent) in work:
        await _one(pool, kind, agent, f"question {number}")


async def _one(pool: Pool, kind: str, agent: int, prompt: str) -> Outcome:
    if kind == "request":
        return await pool.request(agent, prompt)
    return await pool.stream(agent, prompt, leave_after=1 if kind == "leave" else None)


async def _cancel_one(stage: Stage, fleet: Fleet, pool: Pool, number: int) -> None:
    """Cancel a request that has arrived: one cut between SYN and accept is known to one side only."""
    ledger = fleet[STUCK].ledger
    before = ledger.requests
    task = stage.start(pool.request(STUCK, f"cancelled {number}"))
    await stage.until(lambda: ledger.requests > before)
    task.cancel()
    await stage.ended([task])


LEDGERS_AGREE = Claim(
    "ledgers-agree",
    f"After a mixed run of {REQUESTS:,} requests, client and fleet have counted the same.",
    ledgers_agree,
    needs=frozenset({"ledger"}),
)
