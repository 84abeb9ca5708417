"""What a claim is, what its scenario has to work with, and what it brings back.

A scenario drives a client against a fleet and writes down in its `Evidence` what both sides counted and every promise
that did not hold. Verdicts rest on order and counts. Where something has to happen first, `Stage.until` waits for it
with a deadline far beyond any honest need; where something must *not* happen, `settled` gives it a moment in which it
would. After the first deadline that has passed in vain the others are short: a client that is merely slow has had all
its time by then, and one that is stuck would use up any amount.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fleetsim.fleet import Fleet
from fleetsim.ledger import Ledger
from fleetsim.proofs.client import Client, Endpoint, Options, Outcome, Pool
from fleetsim.proofs.complaints import Complaints
from fleetsim.proofs.witness import SocketWitness, WatchedLoop

__all__ = [
    "PATIENCE",
    "Claim",
    "Evidence",
    "Stage",
    "brief",
    "check_all_ok",
    "check_slots",
    "counted",
    "endpoints_of",
    "failures",
    "figure",
    "joined",
    "settled",
    "totals",
]

PATIENCE = 10.0  # seconds for something that takes milliseconds
IMPATIENCE = 1.0  # seconds for the same, once a deadline has passed in vain
POLL = 0.004
BRIEF = 100  # characters
NO_FIGURE = "-"
SETTLE_POLLS = 12


@dataclass(slots=True)
class Evidence:
    """What a scenario found: the figure of either side, and the promises that did not hold."""

    client: str = NO_FIGURE
    fleet: str = NO_FIGURE
    problems: list[str] = field(default_factory=list)

    def check(self, held: bool, otherwise: str) -> bool:
        """Note the problem `otherwise` unless it `held`; returns `held`."""
        if not held:
            self.problems.append(otherwise)
        return held


@dataclass(slots=True)
class Stage:
    """One scenario's surroundings: the client under test, chance, witnesses, and the tasks it has started.

    `patience` is how many seconds are given to what should take milliseconds; it ends with the first deadline missed.
    """

    client: Client
    seed: int
    loop: WatchedLoop
    complaints: Complaints
    patience: float = PATIENCE
    evidence: Evidence = field(default_factory=Evidence)
    rng: random.Random = field(init=False)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    @property
    def witness(self) -> SocketWitness:
        """The count of the client's sockets that neither side has made."""
        return self.loop.witness

    def part(self) -> Stage:
        """A stage in the same surroundings, with evidence, tasks and patience of its own, for a part of a scenario."""
        return Stage(self.client, self.seed, self.loop, self.complaints, self.patience)

    def fleet(self, size: int, **settings: Any) -> Fleet:
        """A fleet of `size` servers with this run's seed."""
        return Fleet(size, seed=self.seed, **settings)

    @asynccontextmanager
    async def pool(self, endpoints: Sequence[Endpoint], **options: Any) -> AsyncIterator[Pool]:
        """The client's pool over `endpoints`, open inside the context and closed after it."""
        pool = self.client.build(endpoints, Options(**options))
        await pool.open()
        try:
            yield pool
        finally:
            await self.dismiss()
            await pool.close()

    def start(self, work: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome]:
        """A task for `work`; whatever of it is left at the end of the scenario is cancelled and awaited."""
        task = self.loop.create_task(work)
        self.tasks.append(task)
        return task

    def launch(self, *works: Coroutine[Any, Any, Outcome]) -> None:
        """`start` each of `works`, for those whose outcome nobody will ask for."""
        for work in works:
            self.tasks.append(self.loop.create_task(work))

    async def until(self, condition: Callable[[], bool], *, poll: float = POLL) -> bool:
        """Look every `poll` seconds, 0 for every turn of the loop, until `condition` holds.

        False if it does not within `patience` seconds.
        """
        give_up = self.loop.time() + self.patience
        while not condition():
            if self.loop.time() > give_up:
                self.lose_patience()
                return False
            await asyncio.sleep(poll)
        return True

    async def ended(self, tasks: Collection[asyncio.Task[Any]], *, beyond: float = 0.0) -> bool:
        """Wait for all `tasks`; False if not all of them have ended within `beyond` and `patience` seconds."""
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=beyond + self.patience)
        if pending:
            self.lose_patience()
        return not pending

    def lose_patience(self) -> None:
        """A deadline has passed in vain: give little time to whatever is waited for from now on."""
        self.patience = min(self.patience, IMPATIENCE)

    async def dismiss(self) -> None:
        """Cancel and await every task still running."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def finish(self, tasks: Sequence[asyncio.Task[Outcome]]) -> list[Outcome | None]:
        """Outcomes of `tasks` in order; None where a task was cancelled, raised, or did not end."""
        await self.ended(tasks)
        return [task.result() if ended_well(task) else None for task in tasks]


def ended_well(task: asyncio.Task[Any]) -> bool:
    """Whether `task` is done and has a result."""
    return task.done() and not task.cancelled() and task.exception() is None


@dataclass(frozen=True, slots=True)
class Claim:
    """One promise. `needs` are features of `client.FEATURES`; `name` is short, fixed, and what `--only` takes."""

    name: str
    sentence: str
    scenario: Callable[[Stage], Awaitable[None]]
    needs: frozenset[str] = frozenset()


def endpoints_of(fleet: Fleet, **tags: Callable[[int], str]) -> list[Endpoint]:
    """The fleet's servers as endpoints; each tag's value is made from the server's index."""
    return [
        Endpoint(server.host, server.port, {name: value(index) for name, value in tags.items()})
        for index, server in enumerate(fleet.endpoints)
    ]


def failures(outcomes: Sequence[Outcome | None]) -> list[str]:
    """What the outcomes that are not ok say."""
    bad = [outcome for outcome in outcomes if outcome is None or not outcome.ok]
    return ["no result" if outcome is None else outcome.error for outcome in bad]


def check_all_ok(evidence: Evidence, outcomes: Sequence[Outcome | None], whose: str = "a request") -> int:
    """Check that all `outcomes` are successes; returns how many are not."""
    problems = failures(outcomes)
    evidence.check(not problems, f"{whose} failed ({len(problems)} of {len(outcomes)}): {problems[:1]}")
    return len(problems)


def figure(**counts: int | None) -> str:
    """Counts in words: `3 opened, 57 reused`; a count that is not kept is left out."""
    return joined(*[f"{value} {name.replace('_', ' ')}" for name, value in counts.items() if value is not None])


def brief(text: str) -> str:
    """The first words of what a client says."""
    first = text.strip().splitlines()[0] if text.strip() else text
    return first if len(first) <= BRIEF else f"{first[:BRIEF]}..."


def counted(number: int, thing: str) -> str:
    """A number of things in words: `1 socket`, `2 sockets`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def joined(*figures: str) -> str:
    """Figures one after the other, without those that say nothing."""
    return ", ".join(each for each in figures if each != NO_FIGURE) or NO_FIGURE


def totals(*ledgers: Ledger) -> str:
    """What several fleets of one scenario have seen in all: requests, connections, and requests in flight now."""
    return figure(
        requests=sum(ledger.requests for ledger in ledgers),
        opened=sum(ledger.opened for ledger in ledgers),
        in_flight=sum(ledger.in_flight for ledger in ledgers),
    )


async def check_slots(stage: Stage, fleet: Fleet, pool: Pool, slots: int, *, after: str) -> None:
    """Check that exactly `slots` requests to the pool's first endpoint, a server of `fleet`, get in at once."""
    ledger = fleet.ledger
    await stage.until(lambda: ledger.in_flight == 0)
    with fleet.hold():
        tasks = [stage.start(pool.request(0, f"afterwards {n}")) for n in range(2 * slots)]
        await stage.until(lambda: ledger.in_flight >= slots)
        await settled(lambda: ledger.in_flight)
        free = ledger.in_flight
    stage.evidence.check(free == slots, f"after {after}: {free} of {slots} slots are free")
    check_all_ok(stage.evidence, await stage.finish(tasks), f"after {after}: a request")


async def settled(figure: Callable[[], object]) -> None:
    """Return once `figure` has stayed the same for a good while (about 50 ms); what was to follow has followed."""
    same, last = 0, figure()
    while same < SETTLE_POLLS:
        await asyncio.sleep(POLL)
        now = figure()
        same, last = (same + 1, last) if now == last else (0, now)
