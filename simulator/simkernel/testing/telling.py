"""What the report of a failed simulated test says: the seed, the plan, how to have it again, and what happened last."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pytest

from simkernel.testing.seeds import Block
from simkernel.testing.simulated import Failure
from simkernel.trace import Event

__all__ = ["again", "sections"]

_EVENTS = 30
_STEPS = 60


def again(item: pytest.Function, block: Block, seed: int) -> str:
    """Return the one line that runs this seed of the test; `block` is the item's."""
    name = item.name.replace(block.name, Block([seed], is_first=True).name)
    only_seeds = item.name == f"{item.originalname}[{block.name}]"
    node = item.nodeid.removesuffix(item.name) + (item.originalname if only_seeds else name)
    return f"pytest {shlex.quote(node)} --sim-seed {seed}"


def sections(failure: Failure, line: str) -> list[tuple[str, str]]:
    """Return titles and texts for the report; `line` is that of `again`."""
    seed, trace = failure.outcome.seed, failure.outcome.result.trace[: failure.outcome.events]
    last = trace[-_EVENTS:]
    told = [f"seed {seed} failed, {_passed(failure)}", f"again: {line}"]
    if failure.remark is not None:
        told.append(failure.remark)
    return [
        ("Simulated seed", "\n".join(told)),
        *([(_title(failure), _steps(failure.outcome.plan))] if failure.outcome.plan is not None else []),
        (f"Simulated trace, last {len(last)} of {len(trace)} events", _in_words(last)),
    ]


def _in_words(events: list[Event]) -> str:
    return "\n".join(" ".join(map(str, event)) for event in events) or "(none)"


def _passed(failure: Failure) -> str:
    passed = failure.passed
    if not passed:
        return "no seed of this block before it passed"
    return (
        f"{passed[0]} passed"
        if len(passed) == 1
        else f"{passed[0]} to {passed[-1]} passed ({_counted(passed, 'seed')})"
    )


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _title(failure: Failure) -> str:
    plan, drawn = failure.outcome.plan or [], failure.drawn or []
    if len(plan) == len(drawn) and plan == drawn:
        return f"Plan of {_counted(drawn, 'step')}, as drawn"
    return f"Plan of {_counted(plan, 'step')}, shrunk from {len(drawn)} in {failure.tries} runs"


def _steps(plan: list[object]) -> str:
    more = [f"... and {len(plan) - _STEPS} more"] if len(plan) > _STEPS else []
    return "\n".join([*(f"{step!r}," for step in plan[:_STEPS]), *more]) or "(no step: the failure needs none)"
