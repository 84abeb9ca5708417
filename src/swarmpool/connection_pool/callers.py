"""Callers of a connection pool: how they wait, are served, check what they got, and go.

What is hard is the gap between the core's answer and the caller's next step. In it the caller may be cancelled (the
connection is handed back in the same tick), the pool invalidated (the caller asks again) or closed (the caller is
told). The core counts such a caller as `checking` until it has accepted. A check that takes time is asked in a task of
its own: nothing it raises strikes the caller, and a connection whose check was cut is not used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TypeVar, cast

from swarmpool.connection_pool.callbacks import finished
from swarmpool.connection_pool.errand import Errand, Outcome
from swarmpool.connection_pool.events import EventKind
from swarmpool.connection_pool.line import Ticket
from swarmpool.connection_pool.options import checked_timeout
from swarmpool.connection_pool.shell import Shell
from swarmpool.connection_pool.states import CloseReason, ConnectionState, Entry
from swarmpool.errors import AcquireTimeout

__all__ = ["Callers"]

T = TypeVar("T")


class Callers(Shell[T]):
    """What `acquire`, `get` and `connection` are made of, and the end of a use."""

    def _take_idle(self) -> Entry[T] | None:
        """An idle connection for a caller, without waiting; None if there is none, or if it must be checked first."""
        loop = self._enter()
        if self._checks:
            return None
        now, core = loop.time(), self._core
        entry = core.take(now)
        if entry is not None:
            core.accept(entry, None, now, waited=None)
        if core.closes:
            self._carry_out()
        return entry

    async def _obtain(self, timeout: float | None) -> tuple[Entry[T], float]:
        """A connection for a caller, and the seconds waited for it."""
        limit = checked_timeout(timeout)
        entry = self._take_idle()
        if entry is not None:
            return entry, 0.0
        loop = self._enter()
        arrived = loop.time()
        ticket = self._core.arrive(arrived)
        caller = _Caller(ticket, loop, None if limit is None else arrived + limit, limit)
        waited: float | None = None
        while True:
            entry = self._core.take(loop.time(), again=caller.served)
            self._carry_out()
            if entry is None:
                entry = await self._wait(caller)
                waited = loop.time() - arrived
            caller.served = True
            if await self._passes(entry, caller):
                self._core.accept(entry, ticket, loop.time(), waited=waited)
                return entry, waited or 0.0

    async def _wait(self, caller: _Caller) -> Entry[T]:
        """Stand in the line until the core hands a connection over."""
        future: asyncio.Future[Entry[T]] = caller.loop.create_future()
        caller.ticket.owner = future
        try:
            (self._core.wait_again if caller.served else self._core.wait)(caller.ticket, caller.loop.time())
        finally:
            self._carry_out()
        alarm = None if caller.deadline is None else caller.loop.call_at(caller.deadline, self._time_out, caller)
        try:
            return await future
        except (asyncio.CancelledError, GeneratorExit):
            self._give_up(caller.ticket, future)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    def _time_out(self, caller: _Caller) -> None:
        future = caller.ticket.owner
        assert isinstance(future, asyncio.Future)
        if not future.done() and self._core.leave(caller.ticket, EventKind.TIMED_OUT):
            future.set_exception(self._late(caller))
            self._carry_out()

    def _late(self, caller: _Caller) -> AcquireTimeout:
        error = AcquireTimeout(f"no connection within timeout={caller.limit} s; {self._core.load()}")
        error.__cause__ = self._core.last_failure
        return error

    def _give_up(self, ticket: Ticket, future: asyncio.Future[Entry[T]]) -> None:
        """Its caller was cancelled: leave the line, or hand back what was handed over in this very tick."""
        if self._core.leave(ticket, EventKind.CANCELLED):
            self._carry_out()
            return
        if not future.cancelled() and future.exception() is None:
            self._hand_back(future.result(), ticket, EventKind.CANCELLED, usable=True)

    def _hand_back(self, entry: Entry[T], ticket: Ticket, kind: EventKind, *, usable: bool) -> None:
        assert self._loop is not None
        self._core.hand_back(entry, ticket, kind, self._loop.time(), usable=usable)
        self._carry_out()

    async def _passes(self, entry: Entry[T], caller: _Caller) -> bool:
        """Whether the caller may have what it was handed. Raises what ends the caller instead."""
        reason = None if entry.fresh or not self._checks or await self._ask(entry, caller) else CloseReason.INVALID
        if self._core.closed_for_good:
            self._hand_back(entry, caller.ticket, EventKind.CLOSED_OUT, usable=False)
            raise self._closed_error()
        now = caller.loop.time()
        reason = reason or self._core.reason_to_go(entry, now)
        if reason is not None:
            self._core.reject(entry, reason, now)
            self._carry_out()
        return reason is None

    async def _ask(self, entry: Entry[T], caller: _Caller) -> bool:
        try:
            answer = self.validate(cast(T, entry.connection))
        except Exception:  # noqa: BLE001 - a check that fails for any reason has failed, and nothing else has
            return False
        return await self._answer(answer, entry, caller) if isinstance(answer, Awaitable) else bool(answer)

    async def _answer(self, answer: Awaitable[bool], entry: Entry[T], caller: _Caller) -> bool:
        """What an asynchronous check says, asked in a task of its own so that nothing it raises strikes the caller."""
        future: asyncio.Future[bool] = caller.loop.create_future()

        def ended(errand: Errand[object], outcome: Outcome[object]) -> None:
            self._asking.discard(errand)
            if not future.done():
                future.set_result(outcome.error is None and bool(outcome.result))
            self._carry_out()

        # Cancelled before its first step, a task closes its own coroutine; one inside of that would never be awaited.
        work = answer if isinstance(answer, Coroutine) else finished(answer)
        errand = Errand(caller.loop, work, timeout=self._options.connect_timeout, ended=ended)
        self._asking.add(errand)
        alarm = None if caller.deadline is None else caller.loop.call_at(caller.deadline, _expire, future)
        try:
            return await future
        except (asyncio.CancelledError, GeneratorExit, TimeoutError) as error:
            errand.cancel()
            kind = EventKind.TIMED_OUT if isinstance(error, TimeoutError) else EventKind.CANCELLED
            self._hand_back(entry, caller.ticket, kind, usable=False)
            if kind is EventKind.TIMED_OUT:
                raise self._late(caller) from self._core.last_failure
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    def _end_turn(self, entry: Entry[T], turn: int, *, usable: bool) -> None:
        """A caller is done with a connection; if it is no longer that caller's, nothing happens."""
        loop = self._here()
        if entry.state is ConnectionState.LEASED and entry.turn == turn:
            self._end_use(entry, loop, usable=usable)

    def _end_use(self, entry: Entry[T], loop: asyncio.AbstractEventLoop, *, usable: bool) -> None:
        core = self._core
        if usable:
            core.give_back(entry, loop.time())
        else:
            core.discard(entry, CloseReason.DISCARDED, loop.time())
        if core.closes or core.dials or core.expiry.stirred or core.demand.held_back or self.queues_dials:
            self._carry_out()


class _Caller:
    """One call of `acquire`, `get` or `connection` that could not be answered at once."""

    __slots__ = ("deadline", "limit", "loop", "served", "ticket")

    def __init__(
        self, ticket: Ticket, loop: asyncio.AbstractEventLoop, deadline: float | None, limit: float | None
    ) -> None:
        self.ticket = ticket
        self.loop = loop
        self.deadline = deadline
        self.limit = limit
        self.served = False


def _expire(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
