"""Who gets which connection, and when to dial or close: the pure decisions of a connection pool.

Theory of operation
-------------------
No I/O, futures, tasks or clock of its own: every method is told `now`. What is to be done outside is left in two queues
(`dials`, `closes`) that the shell empties after each call; callers are served and failed inside the call, by
`hand_over` and `fail`, which answer False when the caller is already gone (cancelled in this very tick).

Between calls this always holds:

    nobody waits beside an idle connection, nor beside room for a dial, unless the pool backs off
    open = dialing + idle + leased + closing <= max_size
    opened - closed = idle + leased + closing

Callers are served in order of arrival, by whichever comes first, a returned connection or a finished dial. A dial
belongs to nobody: it is started because more callers wait than dials are under way, its slot is taken at that moment,
and if nobody wants the result any more the connection becomes idle. Idle connections go out most recently used first,
so that what is not needed grows old and leaves.

A connection may be used again unless it is past its deadline, of an earlier generation, or lost; that is asked when it
is taken and when it comes back. The generation is the pool's when the dial began, for a handshake carries the settings
of its start. No limit cuts a lease in use.

A failed dial fails one caller, the oldest. After it the pool backs off: callers wait, one dial probes for all of them,
and if it fails too, all those fail with it for whom a dial would otherwise have been started.

What may change an entry's state: `_move`, called in this file only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from random import Random
from typing import Generic, TypeVar, cast

from swarmpool.connection_pool.demand import Demand, Warming
from swarmpool.connection_pool.events import EventKind, Note
from swarmpool.connection_pool.expiry import Expiry
from swarmpool.connection_pool.line import Line, Ticket
from swarmpool.connection_pool.options import ConnectionPoolOptions
from swarmpool.connection_pool.states import CloseReason, ConnectionState, Entry
from swarmpool.connection_pool.statistics import Counters
from swarmpool.errors import ConnectFailed, MisuseError, TooManyWaiting

__all__ = ["Core"]

T = TypeVar("T")

_DIALING, _IDLE, _LEASED, _CLOSING, _CLOSED = ConnectionState
_GRACE = 0.0005  # seconds; a timer may fire within its clock's resolution before it is due


class Core(Generic[T]):
    """The connections of one pool and the callers that wait for them."""

    def __init__(
        self,
        options: ConnectionPoolOptions,
        random: Random,
        *,
        hand_over: Callable[[Ticket, Entry[T]], bool],
        fail: Callable[[Ticket, BaseException], bool],
        warmed: Callable[[Warming, BaseException | None], None],
        rested: Callable[[T], object] | None = None,
        note: Note | None = None,
    ) -> None:
        self.options = options
        self.counters = Counters()
        self.demand = Demand(options, random)
        self.expiry: Expiry[T] = Expiry(options)
        self.line = Line()
        self.dials: deque[Entry[T]] = deque()
        self.closes: deque[Entry[T]] = deque()
        self.counts = [0, 0, 0, 0, 0]
        self.open = self.peak_open = 0
        self.checking = 0
        self.generation = 0
        self.closed_for_good = False
        self.last_failure: BaseException | None = None
        self._random = random
        self._hand_over = hand_over
        self._fail = fail
        self._warmed = warmed
        self._rested = rested
        self._note = note
        self._entries: dict[int, Entry[T]] = {}
        self._idle: OrderedDict[int, Entry[T]] = OrderedDict()
        self._numbers = self._arrivals = 0

    # ---------------------------------------------------------------------------------------------- questions

    @property
    def due(self) -> float:
        """When `come_due` must be called next; infinity for never."""
        return min(self.expiry.due, self.demand.due)

    def entry_of(self, connection: T) -> Entry[T] | None:
        """The entry of a connection that is idle or leased."""
        return self._entries.get(id(connection))

    def reason_to_go(self, entry: Entry[T], now: float) -> CloseReason | None:
        """Why a connection may not be used again; None if it may."""
        if self.closed_for_good:
            return CloseReason.POOL_CLOSED
        if entry.generation != self.generation:
            return CloseReason.INVALIDATED
        if entry.lost:
            return CloseReason.LOST
        return CloseReason.EXPIRED if self.expiry.over(entry, now) else None

    # ---------------------------------------------------------------------------------------------- callers

    def arrive(self, now: float) -> Ticket:
        """A caller asks. What it is given is `checking` until `accept`, `reject` or `hand_back`."""
        self._arrivals += 1
        return Ticket(self._arrivals, now)

    def take(self, now: float, *, again: bool = False) -> Entry[T] | None:
        """Lease the most recently used idle connection that may be used, to whoever is next; None if there is none.

        `again`: the caller is `checking` already, because what it was handed was rejected.
        """
        entry = self._next_idle(now)
        if entry is not None:
            self.checking += not again
            self._lease(entry)
        return entry

    def wait(self, ticket: Ticket, now: float) -> None:
        """Join the line, after `take` found nothing. Raises TooManyWaiting."""
        most = self.options.max_waiting
        startable = self.demand.startable(now, self.open, self.counts[_DIALING])
        if most is not None and len(self.line) - self.demand.fresh - startable >= most:
            self.counters.rejected += 1
            self._tell(EventKind.REJECTED, ticket)
            raise TooManyWaiting(f"max_waiting={most} callers wait already; {self.load()}")
        self.line.join(ticket)
        self._tell(EventKind.WAITING, ticket)
        self._start_dials(now)

    def wait_again(self, ticket: Ticket, now: float) -> None:
        """Wait in the old place, because what the caller was handed was rejected, and `take` found nothing."""
        self.line.rejoin(ticket)
        self.checking -= 1
        self._tell(EventKind.WAITING, ticket)
        self._start_dials(now)

    def accept(self, entry: Entry[T], ticket: Ticket | None, now: float, *, waited: float | None) -> None:
        """The caller has what it was handed. `waited` is None if it never stood in the line."""
        self.checking -= 1
        counters = self.counters
        entry.uses += 1
        entry.reused, entry.fresh = not entry.fresh, False
        if entry.reused:
            counters.reused += 1
            if self.options.mark_refreshed_on_get:
                entry.session_since = now
        if waited is None:
            counters.immediate += 1
        else:
            counters.waited += 1
        if self._note is not None:
            caller = None if ticket is None else ticket.number
            self._note(EventKind.ACQUIRED, entry.number, caller=caller, reused=entry.reused, seconds=waited or 0.0)

    def reject(self, entry: Entry[T], reason: CloseReason, now: float) -> None:
        """What the caller was handed may not be used: close it. The caller asks again, by `take` and `wait_again`."""
        self.discard(entry, reason, now)

    def hand_back(self, entry: Entry[T], ticket: Ticket, kind: EventKind, now: float, *, usable: bool) -> None:
        """The caller is gone before it could take what it was handed, which is closed already if the pool is."""
        self.checking -= 1
        self.counters.handed_back += 1
        self._gone(ticket, kind)
        if entry.state is _LEASED and usable:
            self.give_back(entry, now)
        elif entry.state is _LEASED:
            self.discard(entry, CloseReason.DISCARDED, now)

    def leave(self, ticket: Ticket, kind: EventKind) -> bool:
        """A caller stops waiting: CANCELLED or TIMED_OUT. False if it does not wait (any more)."""
        if not self.line.leave(ticket):
            return False
        self._gone(ticket, kind)
        return True

    # ---------------------------------------------------------------------------------------------- connections

    def give_back(self, entry: Entry[T], now: float) -> None:
        """A lease ends well: the connection goes to the next in line, or is idle, or is past its time and closed."""
        entry.idle_since = now
        reason = self.reason_to_go(entry, now)
        if reason is not None:
            self._retire(entry, reason)
        else:
            self._move(entry, _IDLE)
            self._offer(entry, now)
        if self.line:
            self._start_dials(now)

    def discard(self, entry: Entry[T], reason: CloseReason, now: float) -> None:
        """Close a connection that is idle or leased."""
        self._retire(entry, reason)
        self._start_dials(now)

    def lose(self, entry: Entry[T], now: float) -> None:
        """The peer has ended a connection: if it is idle it goes now, if somebody has it, when it comes back."""
        entry.lost = True
        if entry.state is _IDLE:
            self.discard(entry, CloseReason.LOST, now)

    def shrink(self, most: int) -> int:
        """Close up to `most` idle connections, longest idle first; return how many."""
        number = min(most, len(self._idle))
        for _ in range(number):
            self._retire(next(iter(self._idle.values())), CloseReason.EVICTED)
        return number

    def invalidate(self, now: float) -> None:
        """Begin a new generation: what is idle goes now, what is leased on return, what is being dialled at its end."""
        self.generation += 1
        self.demand.begin_again()
        self._tell(EventKind.INVALIDATED)
        while self._idle:
            self._retire(next(iter(self._idle.values())), CloseReason.INVALIDATED)
        self._start_dials(now)

    def prewarm(self, number: int, owner: object, now: float) -> None:
        """Dial until `number` connections are idle or being dialled, as far as there is room."""
        lasting = self.counts[_IDLE] + self.counts[_LEASED]  # all else ends soon, or is what is asked for
        missing = min(number - self.counts[_IDLE], self.demand.room(lasting))
        warming = Warming(int(max(missing, 0)), owner)
        if missing <= 0:
            self._warmed(warming, None)
        else:
            self.demand.warmings.append(warming)
            self._start_dials(now)

    def come_due(self, now: float) -> None:
        """Close the idle connections whose deadline has come, and start the dial that was held back."""
        for entry in self.expiry.expired(now + _GRACE):
            self._retire(entry, CloseReason.EXPIRED)
        self._start_dials(now + _GRACE)

    # ---------------------------------------------------------------------------------------------- dials and closes

    def dialed(self, entry: Entry[T], connection: T, now: float) -> None:
        """A dial has connected: the first in line gets it, or it becomes idle; if it is out of date it is closed."""
        if id(connection) in self._entries:
            error = MisuseError("connect_cb returned a connection that the pool has already; it must make a new one")
            self.dial_failed(entry, error, now)
            return
        stale = self._end_dial(entry)
        entry.connection = connection
        entry.opened_at = entry.session_since = entry.idle_since = now
        self.counters.opened += 1
        if stale:
            self._move(entry, _CLOSING)
            self._tell_opened(entry, now)
            self._leave_to_close(entry, CloseReason.POOL_CLOSED if self.closed_for_good else CloseReason.INVALIDATED)
        else:
            self._entries[id(connection)] = entry
            self._move(entry, _IDLE)
            self._tell_opened(entry, now)
            self.demand.backoff.succeeded()
            self.last_failure = None
            entry.fresh = True
            self._offer(entry, now)
            for warming in self.demand.helped():
                self._warmed(warming, None)
        self._start_dials(now)

    def dial_failed(self, entry: Entry[T], error: BaseException, now: float) -> None:
        """A dial has ended without a connection; see the theory of operation for whom it fails."""
        stale = self._end_dial(entry)
        self._never_connected(entry, error)
        if not stale:
            self.last_failure = error
            self.demand.backoff.failed(entry.started_at, now)
            self._fail_callers(self.demand.room(self.open) if entry.probe else 1, error)
            self._fail_warmings(error)
        self._start_dials(now)

    @property
    def surplus(self) -> int:
        """Dials under way that nobody needs any more."""
        return max(-self.demand.uncovered(len(self.line)), 0)

    def withdraw(self, entry: Entry[T], now: float) -> None:
        """A dial that had not begun is given up, for nobody needs it any more: that says nothing of the server."""
        self._end_dial(entry)
        self._never_connected(entry)
        self._start_dials(now)

    def closed(self, entry: Entry[T], now: float, error: BaseException | None = None) -> None:
        """A connection has been closed, or given up: its slot is free."""
        self._move(entry, _CLOSED)
        entry.connection = None
        self.open -= 1
        self.counters.closed += 1
        self.counters.close_failed += error is not None
        if self._note is not None:
            self._note(EventKind.CLOSED, entry.number, error=error)
        self._start_dials(now)

    def close(self, error: BaseException) -> None:
        """Serve nobody any more: those who wait fail with `error`, idle connections go, dials are out of date."""
        self.closed_for_good = True
        self.demand.fresh = 0
        self.demand.held_back = False
        while (ticket := self.line.pop()) is not None:
            if self._fail(ticket, error):
                self._gone(ticket, EventKind.CLOSED_OUT)
            else:
                self._gone(ticket, EventKind.CANCELLED)
        self._fail_warmings(error)
        while self._idle:
            self._retire(next(iter(self._idle.values())), CloseReason.POOL_CLOSED)
        self.expiry.clear()

    def cut_off(self) -> None:
        """Close what is leased, too."""
        for entry in list(self._entries.values()):
            self._retire(entry, CloseReason.POOL_CLOSED)

    def load(self) -> str:
        """The gauges in words, for errors."""
        dialing, idle, leased, closing, _ = self.counts
        limit = "" if self.options.max_size is None else f" of {self.options.max_size}"
        parts = f"{leased} leased, {idle} idle, {dialing} dialing, {closing} closing"
        return f"{self.open}{limit} open ({parts}), {len(self.line)} waiting"

    # ---------------------------------------------------------------------------------------------- how

    def _move(self, entry: Entry[T], after: ConnectionState) -> None:
        counts = self.counts
        counts[entry.move(after)] -= 1
        counts[after] += 1

    def _next_idle(self, now: float) -> Entry[T] | None:
        """Take the idle connection to use next out of their order; those past their time are closed on the way."""
        while self._idle:
            _, entry = self._idle.popitem()
            if not self.expiry.over(entry, now):
                return entry
            self._retire(entry, CloseReason.EXPIRED)
        return None

    def _lease(self, entry: Entry[T]) -> None:
        self._move(entry, _LEASED)
        entry.guarded = True
        entry.turn += 1
        if self._note is not None:
            self._note(EventKind.LEASED, entry.number)

    def _offer(self, entry: Entry[T], now: float) -> None:
        """A connection is IDLE: it goes to the first in line, or stays so."""
        self._rest(entry)
        if self.line:
            self._serve(now)
        if entry.state is _IDLE:
            entry.fresh = False
            if self._rested is not None:
                self._rested(cast(T, entry.connection))

    def _rest(self, entry: Entry[T]) -> None:
        entry.guarded = False
        self._idle[entry.number] = entry
        self.expiry.watch(entry, len(self._entries))
        if self._note is not None:
            self._note(EventKind.IDLE, entry.number)

    def _retire(self, entry: Entry[T], reason: CloseReason) -> None:
        if entry.state is _IDLE:
            self._idle.pop(entry.number, None)
        del self._entries[id(entry.connection)]
        self._move(entry, _CLOSING)
        self._leave_to_close(entry, reason)

    def _leave_to_close(self, entry: Entry[T], reason: CloseReason) -> None:
        name = reason.value
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        self.closes.append(entry)
        if self._note is not None:
            self._note(EventKind.CLOSING, entry.number, reason=reason)

    def _serve(self, now: float) -> None:
        """Hand idle connections to those who wait, oldest first."""
        while self.line and (entry := self._next_idle(now)) is not None:
            if not self._hand_to_first(entry):
                self._idle[entry.number] = entry

    def _hand_to_first(self, entry: Entry[T]) -> bool:
        while (ticket := self.line.pop()) is not None:
            if self._hand_over(ticket, entry):
                self.checking += 1
                self._lease(entry)
                return True
            self._gone(ticket, EventKind.CANCELLED)
        return False

    def _gone(self, ticket: Ticket, kind: EventKind) -> None:
        """A caller has its end without a connection."""
        name = kind.value
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        self._tell(kind, ticket)

    def _fail_callers(self, most: float, error: BaseException) -> None:
        for number in range(int(min(most, len(self.line)))):
            self._fail_next(error if number == 0 else _shared(error))

    def _fail_next(self, error: BaseException) -> None:
        while (ticket := self.line.pop()) is not None:
            if self._fail(ticket, error):
                self.counters.refused += 1
                if self._note is not None:
                    self._note(EventKind.REFUSED, caller=ticket.number, error=error)
                return
            self._gone(ticket, EventKind.CANCELLED)

    def _fail_warmings(self, error: BaseException) -> None:
        warmings, self.demand.warmings = self.demand.warmings, []
        for warming in warmings:
            self._warmed(warming, error)

    def _start_dials(self, now: float) -> None:
        """Start as many dials as are wanted, and can be."""
        if self.closed_for_good:
            return
        for _ in range(self.demand.to_start(now, len(self.line), self.open, self.counts[_DIALING])):
            self._start_dial(now)

    def _start_dial(self, now: float) -> None:
        self._numbers += 1
        lifetime = 1.0 - self.options.jitter * self._random.random()
        entry: Entry[T] = Entry(self._numbers, generation=self.generation, started_at=now, lifetime=lifetime)
        entry.probe = self.demand.backoff.active
        self.counts[_DIALING] += 1
        self.demand.fresh += 1
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        self.dials.append(entry)
        if self._note is not None:
            self._note(EventKind.DIALING, entry.number)

    def _never_connected(self, entry: Entry[T], error: BaseException | None = None) -> None:
        self._move(entry, _CLOSED)
        self.open -= 1
        self.counters.failed += 1
        if self._note is not None:
            self._note(EventKind.FAILED, entry.number, error=error)

    def _end_dial(self, entry: Entry[T]) -> bool:
        """Whether the dial that has ended is out of date."""
        if entry.state is not _DIALING:
            raise RuntimeError(f"connection {entry.number} is {entry.state.name} and cannot end its dial")
        if self.closed_for_good or entry.generation != self.generation:
            return True
        self.demand.fresh -= 1
        return False

    def _tell(self, kind: EventKind, ticket: Ticket | None = None) -> None:
        if self._note is not None:
            self._note(kind, caller=None if ticket is None else ticket.number)

    def _tell_opened(self, entry: Entry[T], now: float) -> None:
        if self._note is not None:
            self._note(EventKind.OPENED, entry.number, seconds=now - entry.started_at)


def _shared(error: BaseException) -> ConnectFailed:
    """The failure of the dial that probed for many, for one of them: an exception is raised in one place only."""
    failure = ConnectFailed(f"the dial that probed for all who wait has failed: {type(error).__name__}")
    failure.__cause__ = error
    return failure
