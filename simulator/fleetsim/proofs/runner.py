"""Runs claims against a client: each in a fresh loop, one after the other, so that no verdict can blur another.

A scenario that raises, or does not end in time, fails its claim: the client under test is foreign code, and what it
raises is the evidence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from fleetsim.proofs.claim import PATIENCE, Claim, Evidence, Stage
from fleetsim.proofs.client import Client
from fleetsim.proofs.complaints import listening
from fleetsim.proofs.guard import guarded
from fleetsim.proofs.witness import WatchedLoop

__all__ = ["CLAIM_DEADLINE", "Result", "Verdict", "run_claim", "run_claims"]

CLAIM_DEADLINE = 300.0  # seconds; a claim takes ten at most, unless the machine has other work
MAX_PROBLEMS = 3

Verdict = Literal["holds", "fails", "n/a"]


@dataclass(frozen=True, slots=True)
class Result:
    """A claim's verdict on a client. `why` is empty when it holds."""

    name: str
    claim: str
    verdict: Verdict
    client_figure: str
    fleet_figure: str
    seconds: float
    why: str


def run_claims(
    client: Client, claims: Iterable[Claim], seed: int, *, started: Callable[[Claim], None]
) -> Iterator[Result]:
    """Run `claims` in order and yield each result as it is found; `started` is called before each."""
    for claim in claims:
        started(claim)
        yield run_claim(client, claim, seed)


def run_claim(client: Client, claim: Claim, seed: int, *, patience: float = PATIENCE) -> Result:
    """Run one claim in a loop of its own, so not from inside one.

    It ends within `CLAIM_DEADLINE` seconds; `patience` is how many seconds are given to what takes milliseconds.
    """
    missing = claim.needs - client.features
    if missing:
        why = f"{client.name} does not have: {', '.join(sorted(missing))}"
        return Result(claim.name, claim.sentence, "n/a", "-", "-", 0.0, why)
    begin = time.perf_counter()
    evidence = Evidence()
    with listening() as complaints:
        loop = WatchedLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            stage = Stage(client, seed, loop, complaints, patience, evidence)
            runner.run(guarded(stage, claim.scenario, CLAIM_DEADLINE))
    return _result(claim, evidence, time.perf_counter() - begin)


def _result(claim: Claim, evidence: Evidence, seconds: float) -> Result:
    problems = evidence.problems
    shown = "; ".join(problems[:MAX_PROBLEMS])
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    verdict: Verdict = "fails" if problems else "holds"
    return Result(claim.name, claim.sentence, verdict, evidence.client, evidence.fleet, round(seconds, 3), shown + more)
