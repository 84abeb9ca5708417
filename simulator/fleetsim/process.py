"""A server as a process: what slows it down, stops its engine, answers in its place, and takes it away.

Guarantees. Every effect is taken back by the `Undo` it returned, alone and in any order: what is left over holds on.
Latencies are multiplied by the product of all paces; of several halts the first in `Halt` decides; the answer is asked
through every wrapping, the last one outermost. Nothing of it is on the path of a request: an effect changes what the
wire looks up anyway, the answer and its engine.

What may change it: the doorkeeper's steps, one after the other, and nothing else. All in the fleet's loop.
"""

from __future__ import annotations

import math
from typing import TypeVar

from fleetsim.book import Book
from fleetsim.engine.halts import Halt
from fleetsim.exchange import Answer, Steered
from fleetsim.faults.kinds import Undo, Wrapping
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings

__all__ = ["ServerProcess"]

T = TypeVar("T")

_ORDER = list(Halt)


class ServerProcess:
    """The process of server number `listener.server`."""

    def __init__(self, listener: Listener, settings: WireSettings, book: Book) -> None:
        self.doors = listener
        self._settings, self._book = settings, book
        self._answer = settings.answer
        self._paces: list[float] = []
        self._halts: list[tuple[Halt, Wrapping]] = []
        self._wrappings: list[Wrapping] = []

    def note(self, fault: str) -> None:
        """Write the name of a fault to the connections and requests there are."""
        self._book.note_fault(self.doors.server, fault)

    def answer_with(self, answer: Answer) -> None:
        """Answer with `answer` from the next request on."""
        self._answer = answer
        self._steer()

    # The effects.

    def slow_down(self, factor: float) -> Undo:
        """Make all latencies `factor` times as long."""
        return self._add(self._paces, factor)

    def halt(self, halt: Halt, otherwise: Wrapping) -> Undo:
        """Stop the engine. An answer that has none is asked through `otherwise`."""
        return self._add(self._halts, (halt, otherwise))

    def answer_through(self, wrapping: Wrapping) -> Undo:
        """Let `wrapping` answer in place of the server, which it is given."""
        return self._add(self._wrappings, wrapping)

    def _add(self, effects: list[T], effect: T) -> Undo:
        effects.append(effect)
        self._steer()

        async def undo() -> None:
            effects.remove(effect)
            self._steer()

        return undo

    def _steer(self) -> None:
        answer = self._answer
        halt, otherwise = min(self._halts, key=lambda each: _ORDER.index(each[0]), default=(None, _as_it_is))
        if isinstance(answer, Steered):
            answer.steer(pace=math.prod(self._paces), halt=halt)
        else:
            answer = otherwise(answer)
        for wrapping in self._wrappings:
            answer = wrapping(answer)
        self._settings.answer = answer


def _as_it_is(answer: Answer) -> Answer:
    return answer
