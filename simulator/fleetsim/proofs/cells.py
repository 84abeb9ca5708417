"""Cells: one fault met by one request, unary or streamed, in one of three ways, and everything that must hold after it.

Theory of operation
-------------------
A cell has a fleet of one server and a pool of its own, so that any number of cells may run at once in one loop and
none can spoil another's verdict. Its request is the first on a new connection. Then, whatever became of it:

- the request ends as the fault says it must (`Fault.told`), and a text is the whole text or it is no success;
- no slot is lost: as many requests as the pool has slots are under way at once;
- the next 20 requests get their own answers, one excepted where the fault is meant for the next one (`strikes_next`);
- after the close no socket of the pool is open.

The ways: *read* to the end; *cancelled* a few turns of the loop after the fault has struck; *timed out*, by the
client's own limit where the fault lasts that long, and elsewhere by its caller's, which may strike at any moment.
A fault that holds an answer back (`Ends.LATE`) does so for a millisecond when it is to be read, and for an hour when
it is not: its durations are set, whatever they are called.

What is right is taken from the catalogue and the words from the fleet's own routes, asked without a socket. All else
that a cell chooses comes from the run's seed and the cell's name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetsim.faults.catalogue import Fault
from fleetsim.faults.rules import ArmedRule
from fleetsim.faults.told import Ends, Told
from fleetsim.fleet import Fleet
from fleetsim.ledger import Ledger
from fleetsim.proofs.claim import Evidence, Stage, brief, counted, endpoints_of, settled
from fleetsim.proofs.client import Outcome, Pool

__all__ = ["FOLLOWERS", "MAX_TOKENS", "STRUCK", "Cell", "Way", "cells_of", "check_followers", "judge", "play"]

SLOTS = 2
MAX_TOKENS = 4
STRUCK = "What will become of me?"
FOLLOWERS = tuple(f"Who comes after, {number}?" for number in range(20))
BRIEF, LONG = 0.001, 3600.0  # seconds
_TURNS = 8
_MOMENT = 0.02  # seconds
_LIMIT = 3.0  # seconds, where nothing else ends a request; those that come after it need milliseconds of that


class Way(enum.Enum):
    """What becomes of the request besides the fault."""

    READ = "read"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault, one kind of request, one way."""

    fault: Fault
    streamed: bool
    way: Way
    told: Told

    @property
    def name(self) -> str:
        """The fault as it is written, the kind of request, the way."""
        return f"{self.fault.written()} {'stream' if self.streamed else 'unary'} {self.way.value}"

    @property
    def is_given_up(self) -> bool:
        """Whether the caller ends it: by cancelling it, or by its own limit where the client's would not strike."""
        return self.way is Way.CANCELLED or (self.way is Way.TIMED_OUT and not self.told.lasts)

    @property
    def needs_limit(self) -> bool:
        """Whether only the client's time limit may end it."""
        return self.told.ends in (Ends.NEVER, Ends.EITHER) or (self.way is Way.TIMED_OUT and self.told.lasts)


def cells_of(kind: type[Fault]) -> Iterator[Cell]:
    """The cells of a fault; none of one that no plain HTTP request can meet."""
    if not kind.stage.strikes_http:
        return
    for streamed in (False, True):
        told = (kind.told_of_stream if streamed else None) or kind.told
        for way in Way:
            outlasts = told.ends is Ends.LATE and way is not Way.READ
            yield Cell(_with_durations(kind, LONG if outlasts else BRIEF), streamed, way, told)


def _with_durations(kind: type[Fault], seconds: float) -> Fault:
    fields = [field for field in dataclasses.fields(kind) if field.metadata["unit"] == "duration"]
    return kind(**{field.name: seconds for field in fields if field.default is not None})


async def play(stage: Stage, cell: Cell, texts: Mapping[str, str], crowd: asyncio.Semaphore) -> Ledger:
    """Play `cell` and write what did not hold into the stage's evidence; returns the ledger of its server.

    `texts` are the right answers by prompt; `crowd` bounds how many cells ask their 20 questions at once.
    """
    limit = _LIMIT if cell.needs_limit else 3 * stage.patience
    async with stage.fleet(1) as fleet:
        at = fleet[0].endpoint
        options = {"concurrency": SLOTS, "timeout": limit, "max_tokens": MAX_TOKENS}
        async with stage.pool(endpoints_of(fleet), **options) as pool:
            await _strike(stage, cell, fleet, pool, limit, texts[STRUCK])
            await settled(fleet.ledger.snapshot)
            async with crowd:
                await _follow(stage, cell, fleet, pool, texts)
        closed = await stage.until(lambda: stage.witness.open_to(at.host, at.port) == 0)
        left = stage.witness.open_to(at.host, at.port)
        stage.evidence.check(closed, f"{counted(left, 'socket')} still open after the close")
    return fleet.ledger


async def _strike(stage: Stage, cell: Cell, fleet: Fleet, pool: Pool, limit: float, text: str) -> None:
    async with fleet[0].fault(cell.fault) as armed:
        task = stage.start(pool.stream(0, STRUCK) if cell.streamed else pool.request(0, STRUCK))
        given_up = cell.is_given_up and await _give_up(stage, cell, armed, task)
        ended = await stage.ended([task], beyond=limit)
    evidence = stage.evidence
    if not evidence.check(ended, "it does not end") or (given_up and task.cancelled()):
        return
    if evidence.check(not given_up, "the cancellation was not delivered"):
        judge(evidence, cell, _outcome(evidence, task), text, kinds="kinds" in stage.client.features)


async def _give_up(stage: Stage, cell: Cell, armed: ArmedRule, task: asyncio.Task[Outcome]) -> bool:
    """Cancel `task` at the moment drawn for it; False if it had ended by then."""
    chance = random.Random(f"{stage.seed}/{cell.name}")
    if cell.way is Way.TIMED_OUT:
        await asyncio.wait([task], timeout=chance.uniform(0, _MOMENT))
    else:
        await stage.until(lambda: armed.fired > 0 or task.done(), poll=0)
        for _ in range(chance.randrange(_TURNS)):
            await asyncio.sleep(0)
    return task.cancel()


def _outcome(evidence: Evidence, task: asyncio.Task[Outcome]) -> Outcome | None:
    if task.cancelled():
        evidence.check(False, "cancelled, which nobody had done")
        return None
    error = task.exception()
    if error is not None:
        evidence.check(False, brief(f"raised {type(error).__name__}: {error}"))
        return None
    return task.result()


def judge(evidence: Evidence, cell: Cell, outcome: Outcome | None, text: str, *, kinds: bool) -> None:
    """Check that `outcome` is what the fault says a caller must be told; `kinds`: whether failures are told apart."""
    if outcome is None:
        return
    ends = cell.told.ends
    if outcome.ok:
        evidence.check(outcome.text == text, f"success with the text {outcome.text[:40]!r}, not {text[:40]!r}")
        evidence.check(ends not in (Ends.FAILED, Ends.NEVER), "told as success")
        return
    late = cell.way is Way.TIMED_OUT and ends is Ends.LATE
    failure = late or ends in (Ends.FAILED, Ends.NEVER, Ends.EITHER)
    if evidence.check(failure, f"told as failure: {brief(outcome.error)}") and kinds and cell.told.kinds:
        kind = getattr(outcome, "kind", "")  # of a client that has the feature `kinds`
        evidence.check(kind in cell.told.kinds, f"told as {kind}, not {cell.told}: {brief(outcome.error)}")


async def _follow(stage: Stage, cell: Cell, fleet: Fleet, pool: Pool, texts: Mapping[str, str]) -> None:
    """Ask the next questions, all at once and held back until every slot is taken."""
    ledger, evidence = fleet.ledger, stage.evidence
    before = ledger.in_flight  # of a server that does not notice that its client has gone
    with fleet.hold():
        tasks = [stage.start(pool.request(0, prompt)) for prompt in FOLLOWERS]
        await stage.until(lambda: ledger.in_flight - before >= SLOTS)
        await settled(lambda: ledger.in_flight)
        under_way = ledger.in_flight - before
    evidence.check(under_way >= SLOTS, f"afterwards {under_way} of {SLOTS} slots are free")
    check_followers(evidence, await stage.finish(tasks), texts, spared=int(cell.fault.strikes_next))


def check_followers(
    evidence: Evidence, outcomes: Sequence[Outcome | None], texts: Mapping[str, str], *, spared: int
) -> None:
    """Check that each of `FOLLOWERS` got its own text; `spared` of them may have failed."""
    failed = ["no result" if each is None else brief(each.error) for each in outcomes if each is None or not each.ok]
    evidence.check(len(failed) <= spared, f"afterwards {len(failed)} of {len(outcomes)} fail: {failed[:1]}")
    told = zip(FOLLOWERS, outcomes, strict=True)
    foreign = [each.text[:40] for prompt, each in told if each is not None and each.ok and each.text != texts[prompt]]
    evidence.check(not foreign, f"afterwards {counted(len(foreign), 'answer')} of another request: {foreign[:1]}")
