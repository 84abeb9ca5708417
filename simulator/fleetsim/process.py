"""A server as a process: what slows it down, stops its engine, answers in its place, and takes it away.

    there ──► leaving ──► gone ──► there, anew
      └────── cut ─────────┘

Guarantees. Every effect is taken back by the `Undo` it returned, alone and in any order: what is left over holds on.
Latencies are multiplied by the product of all paces; of several halts the first in `Halt` decides; the answer is asked
through every wrapping, the last one outermost. Nothing of it is on the path of a request: an effect changes what the
wire looks up anyway, the answer and its engine.

The process is away as long as anything wants it away; with the last of them a new one begins on the same port, with a
new answer. A process that leaves does so in vLLM's order (entrypoints/launchers/launcher.py, then uvicorn's shutdown):
the engine ends its requests while the port is still open, then the port is closed and idle connections get a FIN, then
the process waits for the other connections, however long they take.

What may change it: the doorkeeper's steps, one after the other, and the task of a process that leaves. All in the
fleet's loop.

What is hard: whoever wants the process away may change their mind while it leaves. What is left of it is then cut, as
when a supervisor's patience ends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from fleetsim.book import Book
from fleetsim.engine.halts import Halt
from fleetsim.errors import LedgerTimeoutError
from fleetsim.exchange import Answer, Steered
from fleetsim.faults.kinds import Undo, Wrapping
from fleetsim.ledger import Ledger
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings

__all__ = ["Life", "ServerProcess"]

T = TypeVar("T")

_ORDER = list(Halt)

# What a halted engine takes to be gone, in seconds: by then its last outputs are with the clients that read.
_TEARDOWN = 0.1


@dataclass(frozen=True, slots=True)
class Life:
    """What a process needs of its server.

    `leaving`, `gone` and `back` are called when it is so; `anew` makes the answer of a process that begins again, None
    keeps the one there is; `submit` has the doorkeeper do a step of the fault of that name.
    """

    ledger: Ledger
    leaving: Callable[[], None]
    gone: Callable[[], None]
    back: Callable[[], None]
    anew: Callable[[], Answer] | None
    submit: Callable[[str, Callable[[], Awaitable[None]]], None]


class _Absence:
    """One that wants the process away; after `back_after` seconds without it, if that is given, no more."""

    __slots__ = ("back_after", "name", "refusing", "timer")

    def __init__(self, name: str, back_after: float | None) -> None:
        self.name, self.back_after = name, back_after
        self.refusing = False
        self.timer: asyncio.TimerHandle | None = None


class ServerProcess:
    """The process of server number `listener.server`."""

    def __init__(self, listener: Listener, settings: WireSettings, book: Book, life: Life) -> None:
        self.doors = listener
        self._settings, self._book, self._life = settings, book, life
        self._absences: dict[_Absence, None] = {}
        self._watchdogs: set[asyncio.TimerHandle] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._ending: Halt | None = None
        self._is_gone = False
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
        halts = self._halts if self._ending is None else [*self._halts, (self._ending, _as_it_is)]
        halt, otherwise = min(halts, key=lambda each: _ORDER.index(each[0]), default=(None, _as_it_is))
        if isinstance(answer, Steered):
            answer.steer(pace=math.prod(self._paces), halt=halt)
        else:
            answer = otherwise(answer)
        for wrapping in self._wrappings:
            answer = wrapping(answer)
        self._settings.answer = answer

    # Whether it is there.

    def kill(self, name: str, back_after: float | None = None) -> Undo:
        """Cut everything at once."""
        absence = self._absent(name, back_after)
        self._go()
        return partial(self._return, absence)

    def terminate(self, name: str, halt: Halt | None, patience: float, back_after: float | None = None) -> Undo:
        """Tell it to end; `halt` is what its engine does, and `patience` how many seconds it may drain."""
        absence = self._absent(name, back_after)
        if self._is_gone:
            self._go()
        elif self._leaving is None:
            self._life.leaving()
            self._leaving = asyncio.get_running_loop().create_task(self._leave(halt, patience))
        elif self._settings.draining:
            self._refuse(absence)
        return partial(self._return, absence)

    def terminate_after(self, name: str, seconds: float) -> Undo:
        """Tell it to end in `seconds`, its engine being as it is then."""
        begun: list[Undo] = []

        async def begin() -> None:
            begun.append(self.terminate(name, None, 0.0))

        timer = asyncio.get_running_loop().call_later(seconds, self._life.submit, name, begin)
        self._watchdogs.add(timer)

        async def undo() -> None:
            timer.cancel()
            self._watchdogs.discard(timer)
            for each in begun:
                await each()

        return undo

    def stop(self) -> None:
        """The server has ended: nothing of this goes on; `settled` waits for what that sets going."""
        for timer in self._watchdogs:
            timer.cancel()
        for absence in self._absences:
            _cancel(absence.timer)
        _cancel(self._leaving)

    async def settled(self) -> None:
        """Return when no task of it is left. Cancelling it changes nothing."""
        if self._leaving is not None and not self._leaving.done():
            await asyncio.wait([self._leaving])

    def _absent(self, name: str, back_after: float | None) -> _Absence:
        absence = _Absence(name, back_after)
        self._absences[absence] = None
        return absence

    async def _leave(self, halt: Halt | None, patience: float) -> None:
        self._end_with(halt)
        if halt is Halt.DRAINING and not await self._is_quiet(patience):
            self._end_with(Halt.ABORTING)
        if halt is not None:
            await self._is_quiet(_TEARDOWN)
        self._settings.draining = True
        for absence in self._absences:
            self._refuse(absence)
        self.doors.close_idle()
        await self.doors.wait_until_empty()
        self._leaving = None
        self._go()

    def _end_with(self, halt: Halt | None) -> None:
        self._ending = halt
        self._steer()

    async def _is_quiet(self, patience: float) -> bool:
        try:
            await self._life.ledger.wait_for(in_flight=0, timeout=patience)
        except LedgerTimeoutError:
            return False
        return True

    def _go(self) -> None:
        self.doors.turns_away = True
        self._cut()
        if not self._is_gone:
            self._is_gone = True
            self._life.gone()
        for absence in self._absences:
            self._refuse(absence)
            if absence.back_after is not None and absence.timer is None:
                back = partial(self._life.submit, absence.name, partial(self._return, absence))
                absence.timer = asyncio.get_running_loop().call_later(absence.back_after, back)

    def _cut(self) -> None:
        _cancel(self._leaving)
        self._leaving = None
        self.doors.cut_connections()

    def _refuse(self, absence: _Absence) -> None:
        if not absence.refusing:
            absence.refusing = True
            self.doors.refuse()

    async def _return(self, absence: _Absence) -> None:
        if absence not in self._absences:
            return
        del self._absences[absence]
        _cancel(absence.timer)
        if not self._absences:
            self._begin_anew()
        if absence.refusing:
            await self.doors.listen_again()

    def _begin_anew(self) -> None:
        self._cut()
        self._is_gone, self._ending = False, None
        self.doors.turns_away = False
        self._settings.draining = False
        if self._life.anew is not None:
            self._answer = self._life.anew()
        self._steer()
        self._life.back()


def _cancel(work: asyncio.TimerHandle | asyncio.Task[None] | None) -> None:
    if work is not None:
        work.cancel()


def _as_it_is(answer: Answer) -> Answer:
    return answer
