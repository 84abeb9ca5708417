"""What `@pytest.mark.simulated(...)` asks for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pytest

from simkernel.settings import Settings
from simkernel.testing.seeds import as_seeds

__all__ = ["Wanted", "wanted"]

Draw = Callable[[random.Random], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a test is to be simulated."""

    seeds: Sequence[int]
    plan: Draw | None
    """Draws the steps of a plan from a generator."""
    simpler: Callable[[Any], Iterable[Any]] | None
    """Offers simpler versions of one step, for `shrink`."""
    settings: Mapping[str, Any]
    """Of the simulated world."""


def wanted(marks: Iterable[pytest.Mark]) -> Wanted:
    """Put the marks of a test together, the nearest first: it goes before those further away, word by word.

    Raises ValueError for what cannot be.
    """
    chosen: dict[str, Any] = {"seeds": 200, "plan": None, "simpler": None}
    for mark in reversed(list(marks)):
        if len(mark.args) > 1:
            raise ValueError(f"expected the seeds, and else keywords, got {mark.args[1]!r}")
        chosen |= {**dict(zip(("seeds",), mark.args, strict=False)), **mark.kwargs}
    seeds, plan, simpler = (chosen.pop(name) for name in ("seeds", "plan", "simpler"))
    for name, value in (("plan", plan), ("simpler", simpler)):
        if value is not None and not callable(value):
            raise ValueError(f"{name}={value!r}: expected a function")
    _check_settings(chosen)
    return Wanted(as_seeds(seeds), plan, simpler, chosen)


def _check_settings(settings: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise ValueError(f"{name}: unknown setting; expected seeds, plan, simpler or one of {', '.join(known)}")
    Settings(**settings)
