"""Which simulation is running now, and in which thread. There is one at most in a process.

What replaces a function of Python's own asks here each time it is called: in another thread, or when no run is on, it
is the function it replaced.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simkernel.errors import SimError, SimEscape

if TYPE_CHECKING:
    from simkernel.faults import Net

__all__ = ["World", "current", "escape", "forbidden", "running"]


class World:
    """One run: its network, its entropy, and the calls that tried to leave it."""

    __slots__ = ("_numbers", "entropy", "escapes", "net", "thread")

    def __init__(self, net: Net) -> None:
        self.net = net
        self.entropy = random.Random(f"simkernel entropy {net.seed}")
        self.escapes: list[SimEscape] = []
        self.thread = threading.get_ident()
        self._numbers = itertools.count(1)

    def next_number(self) -> int:
        """A number for the next object of the run that needs one."""
        return next(self._numbers)


_world: World | None = None


def current() -> World | None:
    """The simulation that the calling thread runs; None in any other."""
    world = _world
    return world if world is not None and world.thread == threading.get_ident() else None


def escape(call: str) -> SimEscape:
    """Return what is to be raised because `call` would leave the simulation. Who swallows it is found out."""
    error = SimEscape(f"{call} would leave the simulation")
    if _world is not None:
        _world.escapes.append(error)
    return error


def forbidden(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in the place of `real`: in the thread of a run it raises SimEscape, elsewhere it is `real`."""

    def call(*args: Any, **options: Any) -> Any:
        if current() is not None:
            raise escape(f"{name}()")
        return real(*args, **options)

    call.__name__ = name.rpartition(".")[2]
    return call


@contextmanager
def running(world: World) -> Iterator[None]:
    """Make it the running one. Raises SimError where another one runs."""
    global _world  # noqa: PLW0603  # one simulation at a time is what this module is for
    if _world is not None:
        raise SimError("a simulation is running already in this process")
    _world = world
    try:
        yield
    finally:
        _world = None
