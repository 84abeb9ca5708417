"""The shell: what the core decided is carried out here, with tasks, futures and one timer.

Theory of operation
-------------------
Every method of the pool asks the core, and then `_carry_out` does what the core left to be done: it starts dials and
closes, each in a task of its own, arms the timer for the core's next deadline, and ends a close when nothing is left.
No caller awaits a dial or a close: callers wait for a future that the core has answered inside the very call that made
a connection free. So no lock is held over I/O, a slow dial or a hanging close delays nobody else, and a caller's
cancellation or timeout ends its own wait and nothing else.

A pool is dropped when its user drops it: nothing here refers to it for long but tasks under way. The core's callbacks
are plain functions, and the timer has a weak reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import warnings
import weakref
from collections.abc import Awaitable, Callable
from random import Random
from typing import ClassVar, Generic, TypeVar, cast

from swarmpool.connection_pool.callbacks import finished
from swarmpool.connection_pool.core import Core
from swarmpool.connection_pool.demand import Warming
from swarmpool.connection_pool.errand import Errand, Outcome
from swarmpool.connection_pool.events import ConnectionEvent, EventKind, EventSink
from swarmpool.connection_pool.line import Ticket
from swarmpool.connection_pool.options import ConnectionPoolOptions
from swarmpool.connection_pool.prewarming import Prewarming
from swarmpool.connection_pool.states import Entry
from swarmpool.errors import ConnectFailed, ConnectTimeout, PoolClosed, WrongEventLoop
from swarmpool.lifecycle import Lifecycle, State

__all__ = ["DialWithdrawn", "Shell"]

T = TypeVar("T")

logger = logging.getLogger("swarmpool")


class DialWithdrawn(Exception):
    """Raised by a `connect` that was asked to give up before it had begun: see `Shell.queues_dials`."""


class Shell(Generic[T]):
    """The machinery of `ConnectionPool`: its life, its dials and its closes. `Callers` adds those who wait.

    `dials`, `closes` and `checks` say whether there is anything to call for each.
    """

    def __init__(
        self,
        options: ConnectionPoolOptions,
        *,
        dials: bool,
        dial_takes_timeout: bool,
        closes: bool,
        checks: bool,
        rested: Callable[[T], object] | None,
        on_event: Callable[[ConnectionEvent], object] | None,
    ) -> None:
        self._options = options
        self._dials, self._dial_takes_timeout = dials, dial_takes_timeout
        self._closes = closes
        self._checks = checks
        note = None if on_event is None else EventSink(on_event).note
        self._core: Core[T] = Core(
            options, Random(options.seed), hand_over=_hand_over, fail=_fail, warmed=_warmed, rested=rested, note=note
        )
        self._note = note
        self._life = Lifecycle()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dialing: dict[Errand[T], Entry[T]] = {}
        self._closing: dict[Errand[object], Entry[T] | None] = {}
        self._asking: set[Errand[object]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._ended: asyncio.Future[None] | None = None
        self._drain_alarm: asyncio.TimerHandle | None = None
        self._drained_at = math.inf

    # ---------------------------------------------------------------------------------------------- for the subclass

    complains: ClassVar[bool] = True
    """Whether it says so when it is dropped while connections are open. Who owns it may do that instead."""

    queues_dials: ClassVar[bool] = False
    """Whether a dial may have to wait until it can begin. `connect` then keeps to its `timeout` by itself, counted from
    there, and `withdraw_dials` is called when some that wait are needed no more."""

    def withdraw_dials(self, surplus: int) -> None:
        """Have so many dials that have not begun end with DialWithdrawn, as far as there are such; those that it has
        been called for before and that have not ended yet are counted again."""

    async def connect(self, timeout: float) -> T:
        """Make a new connection."""
        raise NotImplementedError

    async def disconnect(self, connection: T) -> None:
        """Close a connection."""
        raise NotImplementedError

    def validate(self, connection: T) -> bool | Awaitable[bool]:
        """Whether an idle connection may be used again."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """The pool is CLOSED: let go of what its connections were made with. Called once, in its loop."""

    # ---------------------------------------------------------------------------------------------- life

    def _here(self) -> asyncio.AbstractEventLoop:
        """The running loop, which must be the pool's; a NEW pool opens in it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongEventLoop(f"{self._options.name} can be used from inside its event loop only") from None
        if loop is not self._loop:
            if self._loop is not None:
                raise WrongEventLoop(f"{self._options.name} belongs to another event loop; make one pool for each loop")
            if self._life.state is State.NEW:
                self._loop = loop
                self._life.move(State.OPEN)
        return loop

    def _enter(self) -> asyncio.AbstractEventLoop:
        """The same, for what a pool does only while it is open."""
        loop = self._here()
        if self._life.state is not State.OPEN:
            raise self._closed_error()
        if not self._dials:
            raise NotImplementedError("the pool cannot connect: pass connect_cb=... or override connect()")
        return loop

    def _closed_error(self) -> PoolClosed:
        name, state = self._options.name, self._life.state.name.lower()
        return PoolClosed(f"{name} is {state}; nothing reopens a pool: make a new one")

    def _begin_close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._life.move(State.CLOSING)
        self._ended = loop.create_future()
        if self._note is not None:
            self._note(EventKind.POOL_CLOSING)
        self._core.close(PoolClosed(f"{self._options.name} was closed while this caller waited"))
        for dial in list(self._dialing):
            dial.cancel()
        for check in list(self._asking):
            check.cancel()

    def _drain_until(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        """Leases have until the soonest moment that any caller of `aclose` has given."""
        if when < self._drained_at:
            self._drained_at = when
            if self._drain_alarm is not None:
                self._drain_alarm.cancel()
                self._drain_alarm = None
            if when > loop.time():
                self._drain_alarm = loop.call_at(when, self._drained)
            else:
                self._drained()

    def _drained(self) -> None:
        self._core.cut_off()
        self._carry_out()

    def _finish(self) -> None:
        assert self._ended is not None
        for alarm in (self._alarm, self._drain_alarm):
            if alarm is not None:
                alarm.cancel()
        self._alarm = self._drain_alarm = None
        self._life.move(State.CLOSED)
        if self._note is not None:
            self._note(EventKind.POOL_CLOSED)
        self._let_go()
        self._ended.set_result(None)

    def __del__(self) -> None:
        core: Core[T] | None = getattr(self, "_core", None)  # the constructor may have failed
        if core is None or self._loop is None or self._loop.is_closed():
            return
        if core.open or self._alarm is not None:
            with contextlib.suppress(RuntimeError):  # closed by another thread in this moment
                self._loop.call_soon_threadsafe(self._dropped)  # any thread may collect garbage
        if core.open and self.complains:
            message = f"Unclosed pool {self!r}: leave it with `async with` or `await pool.aclose()`"
            warnings.warn(message, ResourceWarning, stacklevel=2)

    def _dropped(self) -> None:
        assert self._loop is not None
        if self._life.state is State.OPEN:
            self._begin_close(self._loop)
            self._drained()

    # ---------------------------------------------------------------------------------------------- dials and closes

    def _carry_out(self) -> None:
        """Do what the core left to be done."""
        core = self._core
        while core.dials:
            self._start_dial(core.dials.popleft())
        while core.closes:
            self._start_close(core.closes.popleft())
        core.expiry.stirred = False
        if self.queues_dials and core.surplus:
            self.withdraw_dials(core.surplus)
        if core.due < self._alarm_at:
            self._set_alarm(core.due)
        if self._ended is not None and not self._ended.done() and not self._busy():
            self._finish()

    def _busy(self) -> bool:
        return bool(self._core.open or self._core.checking or self._closing or self._asking)

    def _set_alarm(self, when: float) -> None:
        assert self._loop is not None
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._loop.call_at(when, _ring, weakref.ref(self), when)

    def _come_due(self, when: float) -> None:
        assert self._loop is not None
        self._alarm, self._alarm_at = None, math.inf
        self._core.come_due(max(when, self._loop.time()))
        self._carry_out()

    def _start_dial(self, entry: Entry[T]) -> None:
        assert self._loop is not None
        work = self._dial(self._options.connect_timeout)
        limit = None if self.queues_dials else self._options.connect_timeout
        self._dialing[Errand(self._loop, work, timeout=limit, ended=self._dial_ended, late=self._dialed_late)] = entry

    async def _dial(self, timeout: float) -> T:
        connect: Callable[..., Awaitable[T]] = self.connect
        return await (connect(timeout) if self._dial_takes_timeout else connect())

    def _dial_ended(self, errand: Errand[T], outcome: Outcome[T]) -> None:
        assert self._loop is not None
        entry, now = self._dialing.pop(errand), self._loop.time()
        self._core.counters.abandoned += outcome.abandoned
        if outcome.error is None and not outcome.abandoned:
            self._core.dialed(entry, cast(T, outcome.result), now)
        elif isinstance(outcome.error, DialWithdrawn):
            self._core.withdraw(entry, now)
        else:
            self._core.dial_failed(entry, self._dial_error(outcome), now)
        self._carry_out()

    def _dial_error(self, outcome: Outcome[T]) -> BaseException:
        """What to raise to a caller: what `connect_cb` raised, unless that would strike more than the caller."""
        error = outcome.error
        if outcome.overdue:
            failure: ConnectFailed = self._dial_overdue()
        elif isinstance(error, Exception):
            return error
        else:
            failure = ConnectFailed(f"connect_cb ended with {type(error).__name__}")
        failure.__cause__ = error
        return failure

    def _dial_overdue(self) -> ConnectTimeout:
        return ConnectTimeout(f"no connection within connect_timeout={self._options.connect_timeout} s")

    def _dialed_late(self, connection: T) -> None:
        """A dial that was abandoned has brought a connection after all."""
        if self._closes:
            self._close(connection, None)

    def _start_close(self, entry: Entry[T]) -> None:
        assert self._loop is not None
        if self._closes:
            self._close(cast(T, entry.connection), entry)
        else:
            self._core.closed(entry, self._loop.time())

    def _close(self, connection: T, entry: Entry[T] | None) -> None:
        assert self._loop is not None
        timeout = self._options.close_timeout
        self._closing[Errand(self._loop, self._disconnect(connection), timeout=timeout, ended=self._close_ended)] = (
            entry
        )

    async def _disconnect(self, connection: T) -> object:
        return await finished(self.disconnect(connection))

    def _close_ended(self, errand: Errand[object], outcome: Outcome[object]) -> None:
        assert self._loop is not None
        entry = self._closing.pop(errand)
        error = TimeoutError() if outcome.overdue else outcome.error
        self._core.counters.abandoned += outcome.abandoned
        if error is not None:
            number = "that came late" if entry is None else entry.number
            logger.warning("%s: closing connection %s failed: %s", self._options.name, number, type(error).__name__)
        if entry is not None:
            self._core.closed(entry, self._loop.time(), error)
        self._carry_out()


def _hand_over(ticket: Ticket, entry: Entry[T]) -> bool:
    future = ticket.owner
    assert isinstance(future, asyncio.Future)
    if future.done():  # cancelled in this tick; its owner has not run yet to say so
        return False
    future.set_result(entry)
    return True


def _fail(ticket: Ticket, error: BaseException) -> bool:
    future = ticket.owner
    assert isinstance(future, asyncio.Future)
    if future.done():
        return False
    future.set_exception(error)
    return True


def _warmed(warming: Warming, error: BaseException | None) -> None:
    assert isinstance(warming.owner, Prewarming)
    warming.owner.finish(error)


def _ring(reference: weakref.ref[Shell[T]], when: float) -> None:
    pool = reference()
    if pool is not None:
        pool._come_due(when)  # noqa: SLF001 - the timer is the pool's own
