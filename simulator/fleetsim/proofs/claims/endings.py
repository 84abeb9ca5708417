"""How a response ends decides whether its connection may be used again, and what its caller is told."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import (
    Claim,
    Evidence,
    Stage,
    check_all_ok,
    check_slots,
    counted,
    endpoints_of,
    figure,
    settled,
    totals,
)
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["EAGER_EOF", "EVERY_ENDING"]

ROUNDS = 20
ROUNDS_WITHHELD = 2
WITHHELD = ("delayed;seconds=200ms", "never", "truncated", "reset")
SLOTS = 2
PATIENCE = 30.0  # seconds
SHORT_PATIENCE = 2.5  # seconds, for the ending that only a time limit can end


async def eager_eof(stage: Stage) -> None:
    """Streams are left after their first chunk: whole ones must free the connection, unfinished ones must lose it."""
    async with stage.fleet(1) as fleet, stage.pool(endpoints_of(fleet), timeout=stage.patience) as pool:
        evidence, ledger = stage.evidence, fleet.ledger
        fleet[0].ending = "eager"
        check_all_ok(evidence, [await pool.stream(0, f"left {n}", leave_after=1) for n in range(ROUNDS)])
        await settled(lambda: (ledger.opened, ledger.closed))
        opened = ledger.opened
        evidence.check(opened == 1, f"{ROUNDS} eager answers, left unread, used {counted(opened, 'connection')}, not 1")
        wrong = 0
        for ending in WITHHELD:
            wrong += await _strangers_bytes(fleet, pool, ending)
        evidence.check(wrong == 0, f"{counted(wrong, 'request')} after an unread body got wrong bytes or none")
        evidence.client = figure(opened=pool.counts().opened, reused=pool.counts().reused)
        evidence.fleet = f"{figure(opened=ledger.opened, reused=ledger.reused)}; {opened} opened for {ROUNDS} eager"


async def _strangers_bytes(fleet: Fleet, pool: Pool, ending: str) -> int:
    """How many requests, each right after a body left unread, did not get their own answer."""
    wrong = 0
    for n in range(ROUNDS_WITHHELD):
        prompt = f"whose answer is this, {ending} {n}?"
        fleet[0].ending = "eager"
        right = await pool.request(0, prompt)
        fleet[0].ending = ending
        await pool.stream(0, f"left with {ending} {n}", leave_after=1)
        fleet[0].ending = "eager"
        answer = await pool.request(0, prompt)
        wrong += not (right.ok and answer.ok and answer.text == right.text)
    return wrong


@dataclass(frozen=True, slots=True)
class Expectation:
    """Whether an ending must be told as success, unary and as a stream; None where both are right."""

    unary: bool
    stream: bool | None


EXPECTED = {
    "eager": Expectation(True, True),
    "split;gap=0": Expectation(True, True),
    "split;gap=20ms": Expectation(True, True),
    "delayed;seconds=50ms": Expectation(True, True),
    "close": Expectation(True, True),
    "until_close": Expectation(True, True),
    "truncated": Expectation(False, False),
    "reset": Expectation(False, False),
    "before_head": Expectation(False, False),
    # A stream is complete with its `[DONE]`: whoever waits for EOF runs into the time limit, and both are right.
    "never": Expectation(False, None),
}


async def every_ending(stage: Stage) -> None:
    """Each ending once unary and once as a stream, then the pool must have all its slots and right answers."""
    right = 0
    async with AsyncExitStack() as fleets:
        ledgers = []
        for ending, expected in EXPECTED.items():
            fleet = await fleets.enter_async_context(stage.fleet(1))
            ledgers.append(fleet.ledger)
            right += await _one_ending(stage, fleet, ending, expected)
        stage.evidence.client = f"{right} of {2 * len(EXPECTED)} results right"
        stage.evidence.fleet = totals(*ledgers)


async def _one_ending(stage: Stage, fleet: Fleet, ending: str, expected: Expectation) -> int:
    patience = SHORT_PATIENCE if ending == "never" else PATIENCE
    async with stage.pool(endpoints_of(fleet), concurrency=SLOTS, timeout=patience) as pool:
        model = await pool.request(0, "tell me")
        check_all_ok(stage.evidence, [model])
        fleet[0].ending = ending
        tasks = [stage.start(pool.request(0, "tell me")), stage.start(pool.stream(0, "tell me"))]
        unary, stream = await stage.finish(tasks)
        fleet[0].ending = "eager"
        await check_slots(stage, fleet, pool, SLOTS, after=ending)
        evidence = stage.evidence
        right = _is_right(evidence, f"unary {ending}", unary, expected.unary, model.text)
        return right + _is_right(evidence, f"stream {ending}", stream, expected.stream, model.text)


def _is_right(evidence: Evidence, name: str, outcome: Outcome | None, ok: bool | None, text: str) -> bool:
    if outcome is None:
        return evidence.check(False, f"{name}: no result")
    if outcome.ok and not evidence.check(outcome.text == text, f"{name}: success with the text {outcome.text[:40]!r}"):
        return False
    words = {True: "success", False: "failure"}
    detail = f": {outcome.error}" if outcome.error else ""
    wrong = ok is not None and outcome.ok != ok
    return evidence.check(not wrong, f"{name}: told as {words[outcome.ok]}{detail}")


EAGER_EOF = Claim(
    "eager-eof",
    "An eager EOF frees the connection unread; an unread body never leads to reuse with somebody else's bytes.",
    eager_eof,
)
EVERY_ENDING = Claim(
    "every-ending",
    f"Each of {len(EXPECTED)} EOF endings, unary and streamed, yields the right result, leaks no slot, breaks no pool.",
    every_ending,
)
