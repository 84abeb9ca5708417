"""The life of a tree: NEW, OPEN, CLOSING, CLOSED, in that order, and nothing reopens."""

from __future__ import annotations

from enum import Enum

__all__ = ["Lifecycle", "State"]


class State(Enum):
    """Where a tree is in its life."""

    NEW = "NEW"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


_MOVES = {
    State.NEW: {State.OPEN, State.CLOSED},  # a tree that never opened has nothing to drain
    State.OPEN: {State.CLOSING},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set(),
}


class Lifecycle:
    """The present state; an illegal move raises and changes nothing."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def move(self, after: State) -> None:
        """Go to `after`, or raise RuntimeError and stay."""
        if after not in _MOVES[self.state]:
            raise RuntimeError(f"a pool that is {self.state.name} cannot become {after.name}")
        self.state = after
