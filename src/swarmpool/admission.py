"""Who may send now: the pure decisions of the limiter, without I/O, futures or time of its own.

Theory of operation
-------------------
There are `capacity` slots for the tree and, optionally, `capacity_per_agent` of them for each agent. `admit` takes a
slot at once or refuses; `enqueue` makes a `Ticket` that waits; `release` gives a slot back; `withdraw` takes a waiting
ticket out. Every method that may free room ends by handing slots over, so between calls this always holds:

    nobody who could be served is waiting

Hence whoever `admit` serves overtakes nobody that could have gone: there is no such ticket. Tickets are handed slots in
the order of their numbers, skipping only those whose agent is full.

Each agent keeps its tickets in arrival order; a heap holds, for every agent that is not full and has tickets, the
number of the first of them. A heap entry goes stale when that ticket is withdrawn; it is put right when it comes to
the top, so an agent never has two entries. Costs: `admit` O(1), the rest O(log agents), whatever the number of those
who wait.

`hand_over` is called with each ticket served, inside the call that freed the slot; it answers False when the owner is
already gone (its future was cancelled in this very tick), and the slot goes to the next ticket. That, and giving the
slot back when a served owner is cancelled before it could run, is all that keeps a cancellation from losing a slot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from heapq import heappop, heappush

__all__ = ["Admission", "Ticket"]


class Ticket:
    """A place in the queue. `number` is the order of arrival; `agent` is None where no agent is counted."""

    __slots__ = ("agent", "deadline", "number", "owner")

    def __init__(self, number: int, agent: Hashable, owner: object, deadline: float | None) -> None:
        self.number = number
        self.agent = agent
        self.owner = owner
        self.deadline = deadline


class _Line:
    """One agent's slots in use and the tickets that wait for it, oldest first."""

    __slots__ = ("in_heap", "in_use", "tickets")

    def __init__(self) -> None:
        self.in_use = 0
        self.in_heap = False
        self.tickets: OrderedDict[int, Ticket] = OrderedDict()


class Admission:
    """FIFO admission to `capacity` slots, at most `capacity_per_agent` of them for one agent (None = no such cap)."""

    def __init__(
        self, *, capacity: int, capacity_per_agent: int | None = None, hand_over: Callable[[Ticket], bool]
    ) -> None:
        self.capacity = capacity
        self.capacity_per_agent = capacity_per_agent
        self.in_use = 0
        self.peak_in_use = 0
        self._hand_over = hand_over
        self._numbers = 0
        self._waiting: OrderedDict[int, Ticket] = OrderedDict()
        self._lines: dict[Hashable, _Line] = {}
        self._heap: list[tuple[int, Hashable]] = []

    @property
    def waiting(self) -> int:
        """Tickets in the queue."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether every slot of the tree is in use."""
        return self.in_use >= self.capacity

    def in_use_by(self, agent: Hashable) -> int:
        """Slots in use for `agent`; 0 where agents are not counted apart."""
        line = self._lines.get(agent)
        return line.in_use if line else 0

    def admit(self, agent: Hashable) -> bool:
        """Take a slot at once if there is one for `agent`."""
        if self.in_use >= self.capacity:
            return False
        if self.capacity_per_agent is not None and agent is not None:
            line = self._line(agent)
            if line.in_use >= self.capacity_per_agent:
                return False
            line.in_use += 1
        self._take()
        return True

    def enqueue(self, agent: Hashable, owner: object, deadline: float | None = None) -> Ticket:
        """Queue a ticket. Call it only after `admit` refused, or the ticket may wait beside a free slot."""
        self._numbers += 1
        ticket = Ticket(self._numbers, agent, owner, deadline)
        self._waiting[ticket.number] = ticket
        key = self._key(agent)
        line = self._line(key)
        line.tickets[ticket.number] = ticket
        self._offer(key, line)
        return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a waiting ticket out of the queue; False if it is not in it (any more)."""
        if self._waiting.pop(ticket.number, None) is None:
            return False
        del self._lines[self._key(ticket.agent)].tickets[ticket.number]
        return True

    def release(self, agent: Hashable) -> None:
        """Give a slot back and hand it to the first ticket that it can serve.

        A release of what nobody holds raises RuntimeError and changes nothing.
        """
        if self.in_use == 0:
            raise RuntimeError("a slot was released that nobody holds")
        if self.capacity_per_agent is not None and agent is not None:
            self._give_back(agent)
        self.in_use -= 1
        self.settle()

    def settle(self) -> None:
        """Hand free slots to tickets, oldest first, until there is no slot or nobody that can be served."""
        while self.in_use < self.capacity and self._heap:
            number, key = heappop(self._heap)
            line = self._lines[key]
            line.in_heap = False
            ticket = next(iter(line.tickets.values()), None)
            if ticket is None:
                self._forget_if_unused(key, line)
            elif ticket.number != number:
                self._offer(key, line)
            elif self._has_room(key, line):
                self._serve(key, line, ticket)

    def expired(self, now: float) -> Iterator[Ticket]:
        """Withdraw and yield the tickets whose deadline has come. All deadlines must be equally far from arrival."""
        while (ticket := self.oldest()) is not None and ticket.deadline is not None and ticket.deadline <= now:
            self.withdraw(ticket)
            yield ticket

    def oldest(self) -> Ticket | None:
        """The ticket that has waited longest."""
        return next(iter(self._waiting.values()), None)

    def _serve(self, key: Hashable, line: _Line, ticket: Ticket) -> None:
        del self._waiting[ticket.number]
        del line.tickets[ticket.number]
        if self._hand_over(ticket):
            self._take()
            if ticket.agent is not None and self.capacity_per_agent is not None:
                line.in_use += 1
        self._offer(key, line)
        self._forget_if_unused(key, line)

    def _give_back(self, agent: Hashable) -> None:
        line = self._lines.get(agent)
        if line is None or line.in_use == 0:
            raise RuntimeError(f"a slot was released that nobody holds for {agent}")
        line.in_use -= 1
        self._offer(agent, line)
        self._forget_if_unused(agent, line)

    def _take(self) -> None:
        self.in_use += 1
        if self.in_use > self.peak_in_use:
            self.peak_in_use = self.in_use

    def _offer(self, key: Hashable, line: _Line) -> None:
        if line.tickets and not line.in_heap and self._has_room(key, line):
            heappush(self._heap, (next(iter(line.tickets)), key))
            line.in_heap = True

    def _has_room(self, key: Hashable, line: _Line) -> bool:
        return key is None or self.capacity_per_agent is None or line.in_use < self.capacity_per_agent

    def _key(self, agent: Hashable) -> Hashable:
        return agent if self.capacity_per_agent is not None else None

    def _line(self, key: Hashable) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        return line

    def _forget_if_unused(self, key: Hashable, line: _Line) -> None:
        if not line.tickets and not line.in_use and not line.in_heap:
            self._lines.pop(key, None)
