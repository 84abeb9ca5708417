"""Connections are reused, and no more of them are opened than are needed at once."""

from __future__ import annotations

from fleetsim.proofs.claim import Claim, Stage, check_all_ok, counted, endpoints_of, figure, settled

__all__ = ["EXACTLY_N", "ONE_CONNECTION"]

SEQUENTIAL = 60
CONCURRENT = 32
WAVES = 4


async def one_connection(stage: Stage) -> None:
    """Requests one after the other: unary ones and streams in turn."""
    async with stage.fleet(1) as fleet, stage.pool(endpoints_of(fleet)) as pool:
        asks = (pool.request, pool.stream)
        outcomes = [await asks[n % 2](0, f"question {n}") for n in range(SEQUENTIAL)]
        ledger, counts, evidence = fleet.ledger, pool.counts(), stage.evidence
        evidence.client = figure(opened=counts.opened, reused=counts.reused)
        evidence.fleet = figure(opened=ledger.opened, reused=ledger.reused)
        check_all_ok(evidence, outcomes)
        evidence.check(
            ledger.opened == 1, f"{SEQUENTIAL} sequential requests opened {counted(ledger.opened, 'connection')}, not 1"
        )
        evidence.check(counts.opened in (1, None), f"the client counts {counts.opened} opened, not 1")


async def exactly_n(stage: Stage) -> None:
    """One held wave of N shows how many connections N need; the waves after it must not add any."""
    async with stage.fleet(1) as fleet, stage.pool(endpoints_of(fleet), concurrency=CONCURRENT) as pool:
        ledger, evidence = fleet.ledger, stage.evidence
        with fleet.hold():
            first = [stage.start(pool.request(0, f"first {n}")) for n in range(CONCURRENT)]
            await stage.until(lambda: ledger.in_flight >= CONCURRENT)
            await settled(lambda: ledger.opened)
            opened = ledger.opened
        outcomes = await stage.finish(first)
        for wave in range(WAVES):
            outcomes += await stage.finish(
                [stage.start(pool.request(0, f"wave {wave} {n}")) for n in range(CONCURRENT)]
            )
        counts = pool.counts()
        evidence.client = figure(opened=counts.opened, reused=counts.reused)
        evidence.fleet = figure(opened=ledger.opened, reused=ledger.reused)
        check_all_ok(evidence, outcomes)
        evidence.check(opened == CONCURRENT, f"{CONCURRENT} concurrent requests opened {counted(opened, 'connection')}")
        later = ledger.opened - opened
        evidence.check(later == 0, f"{later} more connections were opened by {WAVES} later waves of as many requests")


ONE_CONNECTION = Claim("one-connection", "Sequential requests to one agent reuse one connection.", one_connection)
EXACTLY_N = Claim(
    "exactly-n",
    f"{CONCURRENT} concurrent requests to one agent open exactly {CONCURRENT}; all later ones reuse.",
    exactly_n,
)
