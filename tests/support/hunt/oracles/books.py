"""The pool's own books, read after each of their transitions. For pools that have a tree (`AgentPool` and its kin)."""

from __future__ import annotations

from functools import partial
from typing import Any

from hunt.oracles.oracle import Oracle, listen
from hunt.oracles.outside import SocketsAreBounded
from hunt.world import Call, World
from swarmpool.admission import Admission, Ticket
from swarmpool.sockets import SocketState

__all__ = ["SlotBooks", "SocketBooks"]

_DECISIONS = ("admit", "enqueue", "keep", "enqueue_keeper", "give_up", "withdraw", "release")
_TRANSITIONS = ("connected", "dial_failed", "reuse", "reject", "rest", "end", "lost", "end_idle")
_DIALING, _ACQUIRED, _IDLE, _CLOSING, _CLOSED = SocketState


class SlotBooks(Oracle):
    """The limiter: no more slots than there are, handed out in order of arrival, none lost, nobody waits in vain, and
    each caller counted once. It tells when a call is `granted` its slot."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._tickets: dict[int, Call] = {}
        self._inside = 0

    def begin(self) -> None:
        tree = getattr(self.world.pool, "_tree", None)
        if tree is None:
            return
        self._limiter, self._exchanges = tree.limiter, tree._exchanges
        self._books: Admission = tree.limiter._admission
        for decision in _DECISIONS:
            listen(self._books, decision, self._decides, before=True)
            listen(self._books, decision, partial(self._decided, decision))
        listen(self._books, "_hand_over", self._hands_over, before=True)

    def _decides(self, *_: Any) -> None:
        self._inside += 1

    def _decided(self, decision: str, *about: Any) -> None:
        self._inside -= 1
        if decision == "enqueue" and (call := self.world.current_call()) is not None:
            self._tickets[max(self._books._waiting)] = call
        if not self._inside:
            self._read()

    def _hands_over(self, ticket: Ticket) -> None:
        older = [each for each in self._books._waiting.values() if each.number < ticket.number]
        self.must(
            not any(self._could_go(each) for each in older),
            f"ticket {ticket.number} is served before an older one that could be",
        )
        call = self._tickets.pop(ticket.number, None)
        if call is not None and not ticket.keeps:
            self.world.happens("granted", call)

    def _could_go(self, ticket: Ticket) -> bool:
        books = self._books
        room = books.capacity_per_agent
        return books.in_use < books.capacity and (room is None or books.in_use_by(ticket.agent) < room)

    def _read(self) -> None:
        books, setup = self._books, self.world.setup
        self.must(0 <= books.in_use <= setup.limit, f"{books.in_use} slots of {setup.limit} are in use")
        sockets = books.in_use + books.kept
        self.must(sockets <= setup.connector_limit, f"slots and kept sockets are {sockets} of {setup.connector_limit}")
        self.must(0 <= books.kept <= max(setup.connector_limit - 1, 0), f"{books.kept} sockets are kept")
        used = sum(line.in_use for line in books._lines.values())
        if setup.per_agent is not None:
            self.must(used == books.in_use, f"agents have {used} slots in use, and the pool {books.in_use}")
            most = max((line.in_use for line in books._lines.values()), default=0)
            self.must(most <= setup.per_agent, f"one agent has {most} slots of {setup.per_agent}")
        self.must(
            not any(self._could_go(each) for each in books._waiting.values()),
            f"somebody waits who could be served: {self._limiter!r}",
        )
        self.must(
            not (books._keepers and sockets < setup.connector_limit and books.kept < setup.connector_limit - 1),
            f"somebody waits to keep a socket and there is one: {self._limiter!r}, {books.kept} kept",
        )

    def closing(self) -> None:
        if hasattr(self, "_books"):
            waiting = self._books.waiting + self._books.keepers_waiting
            self.must(not waiting, f"the pool is closing, and {waiting} wait")

    def at_rest(self) -> None:
        if not hasattr(self, "_books"):
            return
        books, now = self._books, self._limiter.statistics()
        self.must(
            (books.in_use, books.waiting, books.keepers_waiting) == (0, 0, 0),
            f"at rest {books.in_use} slots are in use, {books.waiting} + {books.keepers_waiting} wait",
        )
        self.must(not books._lines and not books._heap, "at rest the limiter has lines of agents left")
        self.must(not self._exchanges, f"at rest {len(self._exchanges)} exchanges are under way")
        ended = now.immediate + now.waited + now.timed_out + now.cancelled + now.rejected + now.closed_out
        self.must(now.attempts == ended, f"callers of the limiter and their ends differ: {now}")
        self.must(self._limiter._timer is None, "the limiter's timer runs and nobody waits")


class SocketBooks(Oracle):
    """The connector: every socket counted once, from its dial to its end, never fewer than the kernel has; nobody waits
    beside room for a dial; aiohttp's own queue stays empty."""

    def begin(self) -> None:
        tree = getattr(self.world.pool, "_tree", None)
        if tree is None or tree._connector is None:
            return
        self._connector = tree._connector
        self._books = tree._connector.sockets
        self._kernel = next(each for each in self.world.oracles if isinstance(each, SocketsAreBounded))
        self._inside = 0
        for transition in _TRANSITIONS:
            listen(self._books, transition, self._begins, before=True)
            listen(self._books, transition, self._is_done)
        listen(self.world.net, "connect", self._compare)

    def _begins(self, *_: Any) -> None:
        self._inside += 1

    def _is_done(self, *_: Any) -> None:
        self._inside -= 1
        if not self._inside:
            self._read()

    def _read(self, *_: Any) -> None:
        now, limit = self._books.statistics(), self.world.setup.connector_limit
        self.must(now.open <= now.peak_open <= limit, f"{now.open} sockets of {limit}, at most {now.peak_open}")
        self.must(
            now.open == now.dialing + now.acquired + now.idle + now.closing
            and min(now.dialing, now.acquired, now.idle, now.closing) >= 0,
            f"sockets do not add up: {now}",
        )
        self.must(now.idle == len(self._books._idle), f"idle sockets do not add up: {now}")
        self.must(now.opened - now.closed == now.acquired + now.idle + now.closing, f"opened - closed: {now}")
        dials = sum(not right.done() for right in self._books._dials)
        self.must(not dials or now.open == limit, f"{dials} dials wait beside room for them: {now}")
        self.must(not self._connector._waiters, "a request waits in aiohttp's own queue")

    def _compare(self, *_: Any) -> None:
        """Not at other times: a transport says `connection_lost` just before it closes its socket."""
        ours, kernels = self._books.open, self._kernel.open
        self.must(kernels <= ours, f"the pool counts {ours} sockets, and the kernel {kernels}")

    def at_rest(self) -> None:
        if not hasattr(self, "_books"):
            return
        now, kept = self._books.statistics(), self.world.pool.statistics().admission.kept
        self.must(
            (now.dialing, now.acquired, now.idle, now.closing) == (0, kept, 0, 0),
            f"at rest, with {kept} sockets kept: {now}",
        )
        self.must(not self._books._dials, "at rest dials wait")
        self.must(not self._connector._acquired or kept > 0, "at rest aiohttp has connections acquired")

    def closed(self) -> None:
        if not hasattr(self, "_books"):
            return
        now = self._books.statistics()
        self.must(now.open == 0 and now.opened == now.closed, f"closed: {now}")
        self.must(not self._connector.alive, "closed, and connections are alive")
