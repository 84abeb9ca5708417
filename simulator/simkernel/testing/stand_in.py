"""What pytest sees instead of a simulated test: a plain function of the test's ordinary fixtures.

It is no coroutine function, so that neither pytest-asyncio, in any mode, nor anyio lays hands on it. It takes the place
of the test in its module or class, as a decorator's result would, for that is where pytest looks for what it calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["MARK", "SEEDS", "WORLD", "is_stand_in", "ordinary_arguments", "stand_in", "take_place", "world_arguments"]

MARK = "simulated"
SEEDS = "simulated_seeds"
"""The fixture whose value is the item's block."""
WORLD = ("net", "seed", "random", "plan")
"""What a run gives by itself: these are no fixtures of pytest's."""

# pytest-asyncio does where a plain function has its mark, which may well be that of a whole module.
_NO_COMPLAINT = pytest.mark.filterwarnings(
    "ignore:The test .* is marked with '@pytest.mark.asyncio' but:pytest.PytestWarning"
).mark


def stand_in(test: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that makes the test's coroutine; to pytest it has the arguments that are fixtures."""

    @functools.wraps(test)
    def simulated(*args: Any, **values: Any) -> Any:
        return test(*args, **values)

    seeds = inspect.Parameter(SEEDS, inspect.Parameter.KEYWORD_ONLY)
    simulated.__signature__ = without_world(test, seeds)  # type: ignore[attr-defined]  # functions may have one
    simulated.is_simkernel_stand_in = True  # type: ignore[attr-defined]  # functions may have any
    marks = [mark for mark in vars(simulated).get("pytestmark", []) if not _is_anyios(mark)]
    simulated.pytestmark = [*marks, _NO_COMPLAINT]  # type: ignore[attr-defined]  # as above
    return simulated


def without_world(function: Callable[..., Any], *more: inspect.Parameter) -> inspect.Signature:
    """Return the signature without what a run gives, and with `more` keywords."""
    signature = inspect.signature(function)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in WORLD]
    has_rest = bool(kept) and kept[-1].kind is inspect.Parameter.VAR_KEYWORD
    return signature.replace(parameters=[*kept[:-1], *more, kept[-1]] if has_rest else [*kept, *more])


def _is_anyios(mark: pytest.Mark) -> bool:
    # Its plugin may have seen the test before us, and would run it once for each of its backends.
    return mark.name == "usefixtures" and mark.args == ("anyio_backend",)


def is_stand_in(function: Callable[..., Any]) -> bool:
    return getattr(function, "is_simkernel_stand_in", False)


def ordinary_arguments(function: Callable[..., Any]) -> list[str]:
    """The arguments of a stand-in that are fixtures of pytest's."""
    return [name for name in inspect.signature(function).parameters if name != SEEDS]


def world_arguments(function: Callable[..., Any]) -> list[str]:
    """The arguments of a test, or of its stand-in, that a run gives."""
    return [name for name in inspect.signature(inspect.unwrap(function)).parameters if name in WORLD]


def take_place(collector: pytest.Module | pytest.Class, name: str, found: object) -> Callable[..., Any] | None:
    """Put a stand-in where the test `found` was, and return it; None for what is not to be simulated.

    Raises CollectError for a function that has the mark and is no coroutine function.
    """
    test = getattr(found, "__func__", found)
    if not inspect.isfunction(test) or is_stand_in(test) or not collector.istestfunction(found, name):
        return None
    own = _has_mark(test)
    if not inspect.iscoroutinefunction(test):
        if own:
            raise collector.CollectError(f"simulated: expected an async function, got {_told(test)}")
        return None
    if not own and collector.get_closest_marker(MARK) is None:
        return None
    simulated = stand_in(test)
    setattr(collector.obj, name, staticmethod(simulated) if isinstance(found, staticmethod) else simulated)
    return simulated


def _told(test: Callable[..., Any]) -> str:
    if hasattr(test, "hypothesis"):  # which names its own function as the test, but not in full
        return f"Hypothesis' {test.__name__}; call simkernel.run in it"
    return test.__qualname__


def _has_mark(test: Callable[..., Any]) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == MARK for mark in (marks if isinstance(marks, list) else [marks]))
