"""The keep-alive race: a server closes an idle connection in the very moment in which the client uses it.

vLLM's servers do so after 5 s (`VLLM_HTTP_TIMEOUT_KEEP_ALIVE`), and aiohttp repeats no POST.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, check_all_ok, endpoints_of, figure, joined
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["KEEPALIVE_RACE"]

CONNECTIONS = 200
CLIENT_KEEPALIVE = 4.0  # seconds
SERVER_KEEPALIVE = 5.0  # seconds, vLLM's default
MARGIN: Final = (0.01, 0.1)  # seconds before or after


async def keepalive_race(stage: Stage) -> None:
    """One connection to each of many servers, all at once; a second POST after a gap; then silence."""
    async with stage.fleet(CONNECTIONS, keepalive_timeout=SERVER_KEEPALIVE) as fleet:
        settings = {"concurrency": CONNECTIONS, "keepalive_timeout": CLIENT_KEEPALIVE}
        async with stage.pool(endpoints_of(fleet), **settings) as pool:
            outcomes = await _all_twice(stage, pool)
            await _until_quiet(stage, fleet)
            stage.evidence.client = figure(opened=pool.counts().opened, reused=pool.counts().reused)
    failed = check_all_ok(stage.evidence, outcomes)
    stage.evidence.client = joined(stage.evidence.client, f"{failed} failed")
    closed_by = Counter(record.ended_by for record in fleet.ledger.connection_records())
    first = closed_by["server"]
    stage.evidence.fleet = (
        f"{fleet.ledger.requests} requests, {first} of {fleet.ledger.closed} closed by the server first"
    )
    stage.evidence.check(
        first == 0, f"the server closed {first} of {fleet.ledger.closed} connections before the client did"
    )


async def _all_twice(stage: Stage, pool: Pool) -> list[Outcome]:
    pairs = await asyncio.gather(*[_twice(pool, agent, _gap(stage, agent)) for agent in range(CONNECTIONS)])
    return [outcome for pair in pairs for outcome in pair]


def _gap(stage: Stage, agent: int) -> float:
    """Just under and just over the client's keep-alive and the server's, in turn."""
    limit = (CLIENT_KEEPALIVE, SERVER_KEEPALIVE)[agent % 2]
    side = (-1, 1)[agent // 2 % 2]
    return limit + side * stage.rng.uniform(*MARGIN)


async def _twice(pool: Pool, agent: int, gap: float) -> tuple[Outcome, Outcome]:
    first = await pool.request(agent, "before the gap")
    await asyncio.sleep(gap)
    return first, await pool.request(agent, "after the gap")


async def _until_quiet(stage: Stage, fleet: Fleet) -> None:
    try:
        await fleet.ledger.wait_for(open_now=0, timeout=2 * stage.patience)
    except TimeoutError:
        stage.evidence.check(False, f"{fleet.ledger.open_now} idle connections were closed by neither side")


KEEPALIVE_RACE = Claim(
    "keepalive-race",
    f"{CONNECTIONS} POSTs on connections about to expire all succeed, and the server closes none of them first.",
    keepalive_race,
)
