"""Who may send now: the pure decisions of the limiter, without I/O, futures or time of its own.

Theory of operation
-------------------
There are `capacity` slots for the tree and, optionally, `capacity_per_agent` of them for each agent. `admit` takes a
slot at once or refuses; `enqueue` makes a `Ticket` that waits; `release` gives a slot back; `withdraw` takes a waiting
ticket out. Every method that may free room ends by handing slots over, so between calls this always holds:

    nobody who could be served is waiting

A websocket takes no slot: it *keeps* one of `sockets` for as long as it lives. Requests have the slots that the sockets
left to them allow, and those who wait for either stand in one line, each passed over only for what he cannot use. One
socket is never kept, or requests would wait for as long as websockets live.

Hence whoever `admit` serves overtakes nobody that could have gone: there is no such ticket. Tickets are handed slots in
the order of their numbers, skipping only those whose agent is full.

An agent's cap may be changed while it works (`resize`): a higher one is handed out at once, a lower one is reached as
slots are released.

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
from heapq import heapify, heappop, heappush

__all__ = ["Admission", "Ticket"]


class Ticket:
    """A place in the queue. `number` is the order of arrival; `agent` is None where no agent is counted.

    The ticket of one who wants to `keep` a socket has no agent and no deadline.
    """

    __slots__ = ("agent", "deadline", "keeps", "number", "owner")

    def __init__(
        self, number: int, agent: Hashable, owner: object, deadline: float | None, *, keeps: bool = False
    ) -> None:
        self.number = number
        self.agent = agent
        self.owner = owner
        self.deadline = deadline
        self.keeps = keeps


class _Line:
    """One agent's slots in use and the tickets that wait for it, oldest first."""

    __slots__ = ("in_heap", "in_use", "tickets")

    def __init__(self) -> None:
        self.in_use = 0
        self.in_heap = False
        self.tickets: OrderedDict[int, Ticket] = OrderedDict()


class Admission:
    """FIFO admission to `capacity` slots, at most `capacity_per_agent` of them for one agent (None = no such cap).

    `sockets` is what slots in use and kept sockets may come to together; left out, `capacity`. `capacity` goes down
    while so many sockets are kept that fewer are left for requests.
    """

    def __init__(
        self,
        *,
        capacity: int,
        capacity_per_agent: int | None = None,
        sockets: int | None = None,
        hand_over: Callable[[Ticket], bool],
    ) -> None:
        self.sockets = capacity if sockets is None else sockets
        self.capacity = self._most = min(capacity, self.sockets)
        self.capacity_per_agent = capacity_per_agent
        self.in_use = 0
        self.peak_in_use = 0
        self.kept = 0
        self._hand_over = hand_over
        self._numbers = 0
        self._waiting: OrderedDict[int, Ticket] = OrderedDict()
        self._keepers: OrderedDict[int, Ticket] = OrderedDict()
        self._lines: dict[Hashable, _Line] = {}
        self._heap: list[tuple[int, Hashable]] = []
        self._caps: dict[Hashable, int] = {}

    @property
    def waiting(self) -> int:
        """Tickets in the queue."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether every slot of the tree is in use."""
        return self.in_use >= self.capacity

    @property
    def keepers_waiting(self) -> int:
        """Tickets of those who wait to keep a socket."""
        return len(self._keepers)

    @property
    def wanted(self) -> int:
        """Sockets that would serve somebody at once, were they given up by those who keep them.

        Whoever waits for his agent to have room wants none. The cost is that of the agents whose requests are counted.
        """
        requests = 0 if self.in_use + self.kept < self.sockets else self._lacking_only_a_slot()
        return len(self._keepers) + requests

    def _lacking_only_a_slot(self) -> int:
        """Requests that would be served at once if every slot of the tree's limit had a socket."""
        free, requests = self._most - self.in_use, 0
        for _, key in self._heap:
            if requests >= free:
                break
            line = self._lines[key]
            requests += min(len(line.tickets), self._room(key, line))
        return min(requests, free)

    @property
    def spare(self) -> int:
        """Sockets that could be kept now, with nobody waiting for them."""
        if self._heap or self._keepers:
            return 0
        return min(self.sockets - self.in_use, self.sockets - 1) - self.kept

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
            if line.in_use >= self._caps.get(agent, self.capacity_per_agent):
                return False
            line.in_use += 1
        self._take()
        return True

    def cap_of(self, agent: Hashable) -> int | None:
        """Slots that `agent` may have; None if no agent has a cap."""
        return None if self.capacity_per_agent is None else self._caps.get(agent, self.capacity_per_agent)

    def resize(self, agent: Hashable, cap: int) -> None:
        """Let `agent` have `cap` slots from now on; those it has above that stay until they are released.

        Raises RuntimeError if no agent has a cap.
        """
        if self.capacity_per_agent is None:
            raise RuntimeError("there is no cap per agent that could be resized")
        self._caps[agent] = cap
        line = self._lines.get(agent)
        if line is None:
            return
        if line.in_heap and not self._has_room(agent, line):
            self._heap = [entry for entry in self._heap if entry[1] != agent]
            heapify(self._heap)
            line.in_heap = False
        self._offer(agent, line)
        self.settle()

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

    def keep(self) -> bool:
        """Keep a socket from the requests, if there is one and that overtakes nobody."""
        if self._keepers or not self._may_keep():
            return False
        self._set_kept(self.kept + 1)
        return True

    def enqueue_keeper(self, owner: object) -> Ticket:
        """Queue a ticket for a socket to keep. Call it only after `keep` refused."""
        self._numbers += 1
        ticket = self._keepers[self._numbers] = Ticket(self._numbers, None, owner, None, keeps=True)
        return ticket

    def give_up(self) -> None:
        """A kept socket is free again. Raises RuntimeError, and changes nothing, if none is kept."""
        if self.kept == 0:
            raise RuntimeError("a socket was given up that nobody keeps")
        self._set_kept(self.kept - 1)
        self.settle()

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a waiting ticket out of the queue; False if it is not in it (any more)."""
        if ticket.keeps:
            return self._keepers.pop(ticket.number, None) is not None
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
        """Hand what is free to tickets, oldest first, until there is nobody that can be served."""
        while self._heap or self._keepers:
            request, keeper = self._next_request(), self._next_keeper()
            if request is None and keeper is None:
                return
            if request is not None and (keeper is None or request.number < keeper.number):
                self._serve(request)
            elif keeper is not None:
                del self._keepers[keeper.number]
                self._set_kept(self.kept + self._hand_over(keeper))

    def _next_request(self) -> Ticket | None:
        """The first ticket that a free slot can serve; the heap's entries before it are put right."""
        while self.in_use < self.capacity and self._heap:
            number, key = self._heap[0]
            line = self._lines[key]
            ticket = next(iter(line.tickets.values()), None)
            if ticket is not None and ticket.number == number and self._has_room(key, line):
                return ticket
            heappop(self._heap)
            line.in_heap = False
            self._offer(key, line)
            self._forget_if_unused(key, line)
        return None

    def _next_keeper(self) -> Ticket | None:
        return self.oldest_keeper() if self._may_keep() else None

    def _may_keep(self) -> bool:
        return self.in_use + self.kept < self.sockets and self.kept < self.sockets - 1

    def _set_kept(self, kept: int) -> None:
        self.kept = kept
        self.capacity = min(self._most, self.sockets - kept)

    def expired(self, now: float) -> Iterator[Ticket]:
        """Withdraw and yield the tickets whose deadline has come. All deadlines must be equally far from arrival."""
        while (ticket := self.oldest()) is not None and ticket.deadline is not None and ticket.deadline <= now:
            self.withdraw(ticket)
            yield ticket

    def oldest(self) -> Ticket | None:
        """The ticket that has waited longest."""
        return next(iter(self._waiting.values()), None)

    def oldest_keeper(self) -> Ticket | None:
        """The ticket that has waited longest for a socket to keep."""
        return next(iter(self._keepers.values()), None)

    def _serve(self, ticket: Ticket) -> None:
        _, key = heappop(self._heap)
        line = self._lines[key]
        line.in_heap = False
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
        return self._room(key, line) > 0

    def _room(self, key: Hashable, line: _Line) -> int:
        """Slots that `line` may still have, as far as its agent is concerned."""
        cap = None if key is None else self.cap_of(key)
        return self._most if cap is None else cap - line.in_use

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
