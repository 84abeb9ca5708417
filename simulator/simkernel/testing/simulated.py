"""One simulated test under many seeds: the first that fails is run again, its plan made small, and raised.

A failure is what the test raises, what ends its run, or what nobody handled: lost task exceptions, and errors in
finalizers, which under `-W error` warnings are too. Smaller plans are tried under the same seed, and count when they
fail in the same way, which is by an error of the same type.

What is hard: a failed run's traceback keeps its objects alive, and what they complain of when they go would be laid at
the door of the next run. So complaints between two runs are dropped.
"""

from __future__ import annotations

import gc
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from simkernel.errors import SimDeadlock, SimDivergence, SimLivelock, SimUnhandled
from simkernel.faults import Net
from simkernel.running import Result, Unhandled, attempt
from simkernel.shrinking import shrink
from simkernel.testing.marks import Wanted
from simkernel.testing.provided import Scene
from simkernel.trace import compare

__all__ = ["Failure", "Outcome", "Simulated"]

Plan = list[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run under one seed."""

    seed: int
    plan: Plan | None
    result: Result[None]
    error: BaseException | None
    events: int
    """Events of the trace until the test itself ended: what follows is clearing up."""


@dataclass(slots=True)
class Failure:
    """What is told of the first seed that failed."""

    outcome: Outcome
    """The run that is told of: of the shrunk plan, where there is one."""
    drawn: Plan | None
    """The plan as it was drawn."""
    passed: list[int] = field(default_factory=list)
    """The seeds of the block before it."""
    tries: int = 0
    """Runs that shrinking took."""
    remark: str | None = None
    """Why the plan is not the smallest, or the failure not to be relied on."""


class Simulated:
    """A test, and all that its runs have in common. `call` makes its coroutine from `values` and what a run gives."""

    def __init__(self, call: Callable[..., Any], values: Mapping[str, Any], wanted: Wanted, *, tries: int) -> None:
        self._call, self._values, self._wanted, self._tries = call, values, wanted, tries
        self._complaints: list[Unhandled] = []

    def find_failure(self, seeds: Sequence[int], *, checked: bool) -> Failure | None:
        """Run under one seed after the other until one fails; with `checked` the first is compared with itself.

        Raises pytest's Skipped where every seed skips, and at once what ends the session or comes from a timeout.
        """
        passed: list[int] = []
        skipped: BaseException | None = None
        with self._listening():
            for seed in seeds:
                outcome = self._run(seed, self._draw(seed))
                if isinstance(outcome.error, pytest.skip.Exception):
                    skipped = outcome.error
                    continue
                if outcome.error is None and checked and seed == seeds[0]:
                    outcome = self._checked(outcome)
                if outcome.error is not None:
                    return self._told(outcome, passed)
                passed.append(seed)
        if skipped is not None and not passed:
            raise skipped
        return None

    def _draw(self, seed: int) -> Plan | None:
        draw = self._wanted.plan
        if draw is None:
            return None
        try:
            return list(draw(random.Random(f"simkernel plan {seed}")))
        except Exception as error:
            error.add_note(f"simkernel: the plan of seed {seed} was being drawn")
            raise

    def _run(self, seed: int, plan: Plan | None) -> Outcome:
        given = {"seed": seed, "random": random.Random(f"simkernel test {seed}"), "plan": plan and list(plan)}

        events = 0

        async def main(net: Net) -> None:
            nonlocal events
            async with AsyncExitStack() as stack:
                scene = Scene(given | {"net": net}, stack)
                arguments = await scene.arguments(self._call, self._values)
                try:
                    await self._call(**arguments)
                finally:
                    events = len(net.trace.events)

        gc.collect(1)
        self._complaints.clear()
        result = attempt(main, seed, **self._wanted.settings)
        gc.collect(1)  # what a collection in the middle of a long run has passed over
        error = result.error or _unhandled([*result.unhandled, *self._complaints])
        if error is not None and _is_final(error):
            raise error
        if isinstance(error, (SimDeadlock, SimLivelock)):
            error.__traceback__ = None  # it leads through the kernel alone; the message says who waits where
        return Outcome(seed, plan, result, error, events or len(result.trace))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note what goes wrong where nobody can catch it: in finalizers."""

        def note(unraisable: sys.UnraisableHookArgs) -> None:
            place = unraisable.err_msg or "Exception ignored in"
            self._complaints.append(Unhandled(0.0, f"{place}: {unraisable.object!r}", unraisable.exc_value))

        before, sys.unraisablehook = sys.unraisablehook, note
        try:
            yield
        finally:
            sys.unraisablehook = before

    # What is done about a failure.

    def _checked(self, first: Outcome) -> Outcome:
        """Return the outcome, with an error where a second run of the seed is not the same."""
        try:
            compare(first.result.trace, self._run(first.seed, first.plan).result.trace)
        except SimDivergence as error:
            return Outcome(first.seed, first.plan, first.result, error.with_traceback(None), first.events)
        return first

    def _told(self, outcome: Outcome, passed: list[int]) -> Failure:
        failure = Failure(outcome, outcome.plan, passed)
        if isinstance(outcome.error, SimDivergence):
            return failure
        again = self._run(outcome.seed, outcome.plan)
        _let_go(again.error)
        if _kind(again) != _kind(outcome):
            failure.remark = "the same run again did not fail in this way: it is not the seed's alone"
        elif outcome.plan:
            self._shrink(failure, outcome.plan)
        return failure

    def _shrink(self, failure: Failure, plan: Plan) -> None:
        seed, kind = failure.outcome.seed, _kind(failure.outcome)

        def fails(steps: Plan) -> bool:
            failure.tries += 1
            tried = self._run(seed, steps)
            _let_go(tried.error)
            return _kind(tried) == kind

        small = shrink(plan, fails, tries=self._tries, simpler=self._wanted.simpler)
        if failure.tries == self._tries:
            failure.remark = f"smaller plans were not looked for after {self._tries} runs (--sim-tries)"
        if small != plan:
            _let_go(failure.outcome.error)
            failure.outcome = self._run(seed, small)


def _unhandled(left: list[Unhandled]) -> SimUnhandled | None:
    if not left:
        return None
    told = [f"{each.message}: {each.exception!r}" if each.exception is not None else each.message for each in left]
    error = SimUnhandled("\n".join(told))
    error.__cause__ = next((each.exception for each in left if each.exception is not None), None)
    return error


def _let_go(error: BaseException | None) -> None:
    """Let the objects of a failed run go, which its tracebacks hold: it is not the one that is told of."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _kind(outcome: Outcome) -> tuple[type | None, type | None]:
    """What two failures have in common: the type of the error, and of what was unhandled."""
    error = outcome.error
    return (None if error is None else type(error)), (
        type(error.__cause__) if isinstance(error, SimUnhandled) and error.__cause__ is not None else None
    )


def _is_final(error: BaseException) -> bool:
    # pytest-timeout fails a test from a signal, wherever it is (pytest_timeout.py, PYTEST_FAILURE_MESSAGE).
    is_timeout = isinstance(error, pytest.fail.Exception) and "from pytest-timeout" in str(error)
    return is_timeout or isinstance(error, (pytest.exit.Exception, pytest.xfail.Exception))
