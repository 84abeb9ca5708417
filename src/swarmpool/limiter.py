"""The limiter: `admission.py`'s decisions, given futures, deadlines and counts.

A slot is held from the moment it is handed over, before its new owner has run: nothing can take it in between. An owner
that is cancelled in that gap gives it back (`handed_back`), so a slot cannot be lost. No lock, no `asyncio.Condition`
(it loses notifications up to Python 3.12) and no `asyncio.wait_for` (it drops the value of a cancelled wait).

Counts, true at every instant:

    attempts = immediate + waited + timed_out + cancelled + rejected + closed_out + waiting

They count the queue's decisions: a slot handed over counts as `waited` even if its owner is cancelled before it runs.
Whoever keeps a socket instead (`keep`) is in none of them, nor bounded by `queue_timeout` and `max_waiting`: he brings
a time limit of his own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType

from swarmpool.admission import Admission, Ticket
from swarmpool.errors import PoolClosed, QueueTimeout, TooManyWaiting

__all__ = ["Limiter", "LimiterStatistics"]


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """Slots and the queue for them. Gauges: `capacity`, `in_flight`, `waiting`, `kept`; all else only grows.

    `kept` are sockets that something longer than a request keeps; where they are many, `capacity` is what they leave.
    """

    capacity: int
    in_flight: int
    peak_in_flight: int
    waiting: int
    kept: int
    attempts: int
    immediate: int
    waited: int
    timed_out: int
    cancelled: int
    rejected: int
    closed_out: int
    handed_back: int


class Limiter:
    """Slots for requests in flight, handed out in order of arrival.

    `capacity` slots in all, at most `capacity_per_agent` of them for one agent (None = no cap); waiting ends after
    `queue_timeout` seconds (None = never) and is refused when `max_waiting` callers wait (None = no bound). Slots and
    kept sockets are at most `sockets` together (None = `capacity`); `make_room` is called when somebody waits because
    they are, to have idle ones given up. Any number of tasks of one event loop may call it at once.
    """

    def __init__(
        self,
        *,
        capacity: int,
        capacity_per_agent: int | None = None,
        queue_timeout: float | None = None,
        max_waiting: int | None = None,
        sockets: int | None = None,
        make_room: Callable[[], None] | None = None,
    ) -> None:
        self._admission = Admission(
            capacity=capacity, capacity_per_agent=capacity_per_agent, sockets=sockets, hand_over=self._hand_over
        )
        self._make_room = make_room
        self._queue_timeout = queue_timeout
        self._max_waiting = max_waiting
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._immediate = self._waited = self._timed_out = self._cancelled = 0
        self._rejected = self._closed_out = self._handed_back = 0

    @property
    def capacity(self) -> int:
        """Slots in all, as far as kept sockets leave them."""
        return self._admission.capacity

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return self._admission.in_use

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return self._admission.waiting

    @property
    def kept(self) -> int:
        """Sockets kept from requests."""
        return self._admission.kept

    @property
    def wanted(self) -> int:
        """Kept sockets that somebody waits for."""
        return self._admission.wanted

    @property
    def sockets(self) -> int:
        """What slots in use and kept sockets may come to together."""
        return self._admission.sockets

    @property
    def spare(self) -> int:
        """Sockets that could be kept now, with nobody waiting for them."""
        return self._admission.spare

    def locked(self) -> bool:
        """Whether every slot is in use, as `asyncio.Semaphore.locked` says it."""
        return self._admission.full

    def acquire_nowait(self, agent: Hashable = None) -> bool:
        """Take a slot for `agent` if that overtakes nobody; False otherwise. Raises `PoolClosed` after `close`."""
        if self._closed:
            raise PoolClosed("the pool is closed")
        if not self._admission.admit(agent):
            return False
        self._immediate += 1
        return True

    async def acquire(self, agent: Hashable = None) -> float:
        """Wait for a slot for `agent` and return the seconds waited.

        Raises `TooManyWaiting`, `QueueTimeout`, or `PoolClosed`. Cancelling it loses no slot, whenever it comes.
        """
        if self.acquire_nowait(agent):
            return 0.0
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            self._rejected += 1
            raise TooManyWaiting(f"max_waiting={self._max_waiting} callers wait already; {self._load(agent)}")
        return await self._wait(agent, asyncio.get_running_loop())

    def release(self, agent: Hashable = None) -> None:
        """Give back a slot taken for `agent`; it goes to the first caller it can serve."""
        self._admission.release(agent)

    def cap_of(self, agent: Hashable) -> int | None:
        """Slots that `agent` may have; None where there is no cap."""
        return self._admission.cap_of(agent)

    def in_use_by(self, agent: Hashable) -> int:
        """Slots in use for `agent`; 0 where there is no cap per agent."""
        return self._admission.in_use_by(agent)

    def resize(self, agent: Hashable, cap: int) -> None:
        """Let `agent` have `cap` slots from now on; with more than before, those who wait for it get them at once.

        What it has above that stays until it is released. Raises RuntimeError where there is no cap per agent.
        """
        self._admission.resize(agent, cap)

    def keep_nowait(self) -> bool:
        """Keep a socket from requests if that overtakes nobody and leaves one; False otherwise. Raises `PoolClosed`."""
        if self._closed:
            raise PoolClosed("the pool is closed")
        return self._admission.keep()

    async def keep(self) -> None:
        """Wait for a socket to keep, in the one line with the requests, until `give_up`.

        Raises `PoolClosed`, and TooManyWaiting where there can never be one. Cancelling it loses no socket.
        """
        if self.keep_nowait():
            return
        if self._admission.sockets == 1:
            raise TooManyWaiting("connector_limit=1 leaves no socket beside the one for requests")
        socket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = self._admission.enqueue_keeper(socket)
        self._ask_for_room()
        try:
            await socket
        except (asyncio.CancelledError, GeneratorExit):
            if not self._admission.withdraw(ticket) and not socket.cancelled() and socket.exception() is None:
                self._admission.give_up()
            raise

    def give_up(self) -> None:
        """A kept socket is free again; it goes to the first caller it can serve."""
        self._admission.give_up()

    def close(self) -> None:
        """Refuse everybody from now on: those who wait get `PoolClosed` at once. Slots in use may still be released."""
        self._closed = True
        while (ticket := self._admission.oldest() or self._admission.oldest_keeper()) is not None:
            self._admission.withdraw(ticket)
            failed = self._fail(ticket, PoolClosed("the pool was closed while this request waited"))
            self._closed_out += failed and not ticket.keeps
        self._disarm()

    def statistics(self) -> LimiterStatistics:
        """A consistent record of the counts."""
        ended = self._immediate + self._waited + self._timed_out + self._cancelled + self._rejected + self._closed_out
        return LimiterStatistics(
            capacity=self.capacity,
            in_flight=self.in_flight,
            peak_in_flight=self._admission.peak_in_use,
            waiting=self.waiting,
            kept=self.kept,
            attempts=ended + self.waiting,
            immediate=self._immediate,
            waited=self._waited,
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            rejected=self._rejected,
            closed_out=self._closed_out,
            handed_back=self._handed_back,
        )

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Limiter {self.in_flight} of {self.capacity} in flight, {self.waiting} waiting>"

    async def _wait(self, agent: Hashable, loop: asyncio.AbstractEventLoop) -> float:
        arrived = loop.time()
        deadline = None if self._queue_timeout is None else arrived + self._queue_timeout
        slot: asyncio.Future[None] = loop.create_future()
        ticket = self._admission.enqueue(agent, slot, deadline)
        self._arm(loop)
        self._ask_for_room()
        try:
            await slot
        except (asyncio.CancelledError, GeneratorExit):
            self._give_up(ticket, slot)
            raise
        return loop.time() - arrived

    def _give_up(self, ticket: Ticket, slot: asyncio.Future[None]) -> None:
        """Its owner was cancelled or closed: leave the queue, or give back the slot handed over in this very tick."""
        if self._admission.withdraw(ticket):
            self._cancelled += 1
        elif not slot.cancelled() and slot.exception() is None:
            self._handed_back += 1
            self._admission.release(ticket.agent)

    def _ask_for_room(self) -> None:
        if self._make_room is not None and self._admission.wanted:
            self._make_room()

    def _hand_over(self, ticket: Ticket) -> bool:
        slot = ticket.owner
        assert isinstance(slot, asyncio.Future)
        if slot.done():  # cancelled in this tick; its owner has not run yet to say so
            self._cancelled += not ticket.keeps
            return False
        self._waited += not ticket.keeps
        slot.set_result(None)
        return True

    def _fail(self, ticket: Ticket, error: Exception) -> bool:
        slot = ticket.owner
        assert isinstance(slot, asyncio.Future)
        if slot.done():
            self._cancelled += not ticket.keeps
            return False
        slot.set_exception(error)
        return True

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer serves all: deadlines come in order of arrival, so the oldest ticket's is the next."""
        oldest = self._admission.oldest()
        if self._timer is None and oldest is not None and oldest.deadline is not None:
            self._timer = loop.call_at(oldest.deadline, self._expire, loop, oldest.deadline)

    def _expire(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._timer = None
        for ticket in self._admission.expired(max(due, loop.time())):
            load = self._load(ticket.agent)
            error = QueueTimeout(f"no slot within queue_timeout={self._queue_timeout} s; {load}")
            self._timed_out += self._fail(ticket, error)
        self._arm(loop)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _load(self, agent: Hashable) -> str:
        text = f"{self.in_flight} of {self.capacity} slots in use, {self.waiting} waiting"
        cap = self._admission.cap_of(agent)
        if cap is None or agent is None:
            return text
        return f"{text}, {self._admission.in_use_by(agent)} of {cap} in use for {agent}"
