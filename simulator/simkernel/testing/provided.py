"""Fixtures that live in a simulated world: made anew in each run, on its loop, and gone before it ends.

To pytest they are plain fixtures, so that its rules hold: where they are found, what overrides what, which settings
they read. Their value is not yet the thing but what enters it in a run: any object whose class has
`async with thing.__simulated__(net) as value`. Another package needs nothing of ours to offer one.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from simkernel.testing.stand_in import without_world, world_arguments

__all__ = ["Provided", "Scene", "simulated_fixture"]


def simulated_fixture(function: Callable[..., Any]) -> Any:
    """Decorate an async function, or one that yields once, to be a fixture of simulated tests.

    It may take `net`, `seed`, `random`, `plan` and any fixtures; of simulated ones it gets the values of its own run. A
    test that is not simulated and asks for it gets a `Provided`, which is of no use there.
    """
    if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
        raise TypeError(f"simulated_fixture: expected an async function, got {function!r}")

    def provide(**values: Any) -> Provided:
        return Provided(function, values)

    provide.__name__, provide.__doc__, provide.__module__ = function.__name__, function.__doc__, function.__module__
    provide.__signature__ = without_world(function)  # type: ignore[attr-defined]  # functions may have one
    return pytest.fixture(provide)


class Provided:
    """What a simulated fixture is outside of a run: its function, and what pytest gave for its arguments."""

    def __init__(self, function: Callable[..., Any], values: Mapping[str, Any]) -> None:
        self.function, self.values = function, values

    def __repr__(self) -> str:
        return f"<simulated fixture {self.function.__name__}, made in each run of a simulated test>"


class Scene:
    """The values of one run: what it gives by itself, and each simulated fixture, once."""

    def __init__(self, world: Mapping[str, Any], stack: AsyncExitStack) -> None:
        self._world, self._stack = world, stack
        self._made: dict[int, Any] = {}

    async def arguments(self, function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what to call the function with: the world's own, and `values` with simulated fixtures made."""
        own = {name: self._world[name] for name in world_arguments(function)}
        return own | {name: await self._value(value) for name, value in values.items()}

    async def _value(self, given: Any) -> Any:
        make = self._make_provided if isinstance(given, Provided) else self._make_foreign
        if not isinstance(given, Provided) and not hasattr(type(given), "__simulated__"):
            return given
        if id(given) not in self._made:
            self._made[id(given)] = await make(given)
        return self._made[id(given)]

    def _make_foreign(self, given: Any) -> Awaitable[Any]:
        return self._stack.enter_async_context(given.__simulated__(self._world["net"]))

    async def _make_provided(self, given: Provided) -> Any:
        arguments = await self.arguments(given.function, given.values)
        if inspect.isasyncgenfunction(given.function):
            return await self._stack.enter_async_context(asynccontextmanager(given.function)(**arguments))
        return await given.function(**arguments)
