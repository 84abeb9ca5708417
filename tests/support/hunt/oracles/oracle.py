"""What an oracle is, and how it listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hunt.steps import Moment
from hunt.world import Call, World

__all__ = ["Oracle", "listen"]


class Oracle:
    """Something that must hold. Override the moments it needs; none of them may change anything."""

    def __init__(self, world: World) -> None:
        self.world = world

    def must(self, holds: bool, otherwise: str) -> None:
        """Complain unless it holds."""
        if not holds:
            self.world.complain(otherwise)

    def begin(self) -> None:
        """The pool has been made and nobody has called it."""

    def happens(self, moment: Moment, call: Call) -> None:
        """That moment of that call has come."""

    def closing(self) -> None:
        """The plan has called `close`, a turn of the loop ago."""

    def at_rest(self) -> None:
        """All callers have ended, every fault is over, and a long time has gone by. The pool may be open or closed."""

    def closed(self) -> None:
        """`close` has returned, just now."""

    def long_closed(self) -> None:
        """The same, and servers have had time to notice."""

    def over(self) -> None:
        """The fleet has been closed, too."""


def listen(owner: Any, method: str, heard: Callable[..., None], *, before: bool = False) -> None:
    """Have `heard(*args)` called after (or before) each call of that method of that object."""
    original = getattr(owner, method)

    def listened(*args: Any, **options: Any) -> Any:
        if before:
            heard(*args)
        result = original(*args, **options)
        if not before:
            heard(*args)
        return result

    setattr(owner, method, listened)
