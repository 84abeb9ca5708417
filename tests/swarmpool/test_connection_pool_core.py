from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from pool_options import options

from swarmpool.connection_pool.core import Core
from swarmpool.connection_pool.demand import Warming
from swarmpool.connection_pool.events import EventKind
from swarmpool.connection_pool.line import Ticket
from swarmpool.connection_pool.states import CloseReason, ConnectionState, Entry
from swarmpool.errors import ConnectFailed, TooManyWaiting


class Scene:
    """A core whose callers are tickets: `served` and `failed` say what became of them; those in `gone` take nothing."""

    def __init__(self, **given: Any) -> None:
        self.served: dict[int, Entry[str]] = {}
        self.failed: dict[int, BaseException] = {}
        self.warmed: list[BaseException | None] = []
        self.gone: set[int] = set()
        self.now = 0.0
        self.core: Core[str] = Core(
            options(**given), Random(1), hand_over=self._hand_over, fail=self._fail, warmed=self._warmed
        )

    def _hand_over(self, ticket: Ticket, entry: Entry[str]) -> bool:
        if ticket.number in self.gone:
            return False
        self.served[ticket.number] = entry
        return True

    def _fail(self, ticket: Ticket, error: BaseException) -> bool:
        if ticket.number in self.gone:
            return False
        self.failed[ticket.number] = error
        return True

    def _warmed(self, warming: Warming, error: BaseException | None) -> None:
        self.warmed.append(error)

    def ask(self, times: int = 1) -> list[Ticket]:
        """Callers who find nothing idle and wait."""
        tickets = []
        for _ in range(times):
            ticket = self.core.arrive(self.now)
            assert self.core.take(self.now) is None
            self.core.wait(ticket, self.now)
            tickets.append(ticket)
        return tickets

    def connect(self, times: int = 1) -> list[Entry[str]]:
        """The oldest dials connect."""
        entries = [self.core.dials.popleft() for _ in range(times)]
        for entry in entries:
            self.core.dialed(entry, f"connection {entry.number}", self.now)
        return entries

    def refuse(self, times: int = 1) -> None:
        for _ in range(times):
            self.core.dial_failed(self.core.dials.popleft(), OSError("refused"), self.now)

    def held(self, times: int = 1) -> list[Entry[str]]:
        """Connections dialled and accepted by as many callers."""
        tickets = self.ask(times)
        entries = self.connect(times)
        for ticket, entry in zip(tickets, entries, strict=True):
            self.core.accept(entry, ticket, self.now, waited=0.0)
        return entries


def test_a_returned_connection_or_a_finished_dial_whichever_comes_first() -> None:
    scene = Scene()
    [held] = scene.held()
    first, second = scene.ask(2)
    scene.core.give_back(held, 1.0)
    assert scene.served[first.number] is held
    scene.connect()
    assert scene.served[second.number].number == 2
    [surplus] = scene.connect()
    assert surplus.state is ConnectionState.IDLE


def test_a_dial_that_nobody_needs_any_more_is_not_followed_by_another() -> None:
    scene = Scene()
    for ticket in scene.ask(3):
        assert scene.core.leave(ticket, EventKind.CANCELLED)
    scene.ask(2)
    assert len(scene.core.dials) == 3


def test_slots_are_reserved_before_the_dial_and_free_after_the_close() -> None:
    scene = Scene(max_size=2)
    [held] = scene.held()
    scene.ask(5)
    assert (len(scene.core.dials), scene.core.open) == (1, 2)
    scene.core.discard(held, CloseReason.DISCARDED, 1.0)
    assert (len(scene.core.dials), scene.core.open) == (1, 2)
    scene.core.closed(scene.core.closes.popleft(), 2.0)
    assert (len(scene.core.dials), scene.core.open) == (2, 2)


def test_a_caller_that_is_gone_is_passed_over_and_counted() -> None:
    scene = Scene(max_size=1)
    [held] = scene.held()
    first, second = scene.ask(2)
    scene.gone.add(first.number)
    scene.core.give_back(held, 1.0)
    assert list(scene.served) == [1, second.number]
    assert scene.core.counters.cancelled == 1


def test_if_all_who_waited_are_gone_the_connection_stays_idle() -> None:
    scene = Scene(max_size=1)
    [held] = scene.held()
    scene.gone |= {ticket.number for ticket in scene.ask(2)}
    scene.core.give_back(held, 1.0)
    assert (held.state, scene.core.counters.cancelled) == (ConnectionState.IDLE, 2)
    assert scene.core.take(2.0) is held


def test_what_is_handed_back_goes_to_the_next_as_if_it_had_not_been_touched() -> None:
    scene = Scene(max_size=1)
    first, second = scene.ask(2)
    [entry] = scene.connect()
    scene.core.hand_back(entry, first, EventKind.CANCELLED, 1.0, usable=True)
    assert scene.served[second.number] is entry
    assert (entry.uses, scene.core.checking, scene.core.counters.cancelled) == (0, 1, 1)


def test_a_rejected_caller_keeps_its_place_before_those_who_wait() -> None:
    scene = Scene(max_size=2)
    one, two = scene.held(2)
    first, second, third = scene.ask(3)
    scene.core.give_back(one, 1.0)
    scene.core.give_back(two, 1.0)
    scene.core.reject(two, CloseReason.INVALID, 2.0)
    scene.core.wait_again(second, 2.0)
    scene.core.reject(one, CloseReason.INVALID, 2.0)
    scene.core.wait_again(first, 2.0)
    assert scene.core.checking == 0
    order = []
    while (ticket := scene.core.line.pop()) is not None:
        order.append(ticket)
    assert order == [first, second, third]


def test_a_failed_dial_fails_the_oldest_caller_alone() -> None:
    scene = Scene(reconnect_delay=1.0)
    scene.ask(3)
    scene.refuse()
    assert list(scene.failed) == [1]
    assert isinstance(scene.failed[1], OSError)
    scene.connect(2)
    assert list(scene.served) == [2, 3]


def test_a_probe_fails_those_for_whom_it_stood_and_no_more() -> None:
    scene = Scene(reconnect_delay=1.0, max_size=3)
    scene.ask()
    scene.refuse()
    scene.ask(5)
    assert not scene.core.dials
    scene.core.come_due(scene.core.due)
    assert len(scene.core.dials) == 1
    scene.refuse()
    assert list(scene.failed) == [1, 2, 3, 4]
    assert all(isinstance(scene.failed[number], ConnectFailed) for number in (3, 4))
    assert (len(scene.core.line), scene.core.dials) == (2, type(scene.core.dials)())


def test_a_failed_dial_of_an_earlier_generation_says_nothing() -> None:
    scene = Scene(reconnect_delay=1.0)
    scene.ask()
    scene.core.invalidate(1.0)
    scene.refuse()
    assert not scene.failed
    assert not scene.core.demand.backoff.active
    scene.connect()
    assert list(scene.served) == [1]


def test_more_than_max_waiting_without_a_dial_of_their_own_are_too_many() -> None:
    scene = Scene(max_size=2, max_waiting=1)
    scene.ask(3)
    ticket = scene.core.arrive(0.0)
    with pytest.raises(TooManyWaiting, match=r"^max_waiting=1 callers wait already; 2 of 2 open \(0 leased"):
        scene.core.wait(ticket, 0.0)
    assert (scene.core.counters.rejected, len(scene.core.line)) == (1, 3)


def test_a_connection_that_the_pool_has_already_is_no_new_one() -> None:
    scene = Scene()
    [held] = scene.held()
    scene.ask()
    entry = scene.core.dials.popleft()
    assert held.connection is not None
    scene.core.dialed(entry, held.connection, 1.0)
    assert "connect_cb returned a connection that the pool has already" in str(scene.failed[2])
    assert (held.state, scene.core.open) == (ConnectionState.LEASED, 1)


def test_a_dial_ends_once() -> None:
    scene = Scene()
    scene.ask()
    [entry] = scene.connect()
    with pytest.raises(RuntimeError, match="connection 1 is LEASED and cannot end its dial"):
        scene.core.dialed(entry, "another", 1.0)
    assert scene.core.open == 1


def test_shrink_takes_the_longest_idle_first() -> None:
    scene = Scene()
    entries = scene.held(3)
    for entry in entries:
        scene.core.give_back(entry, 1.0)
    assert [scene.core.shrink(2), scene.core.shrink(5), scene.core.shrink(1)] == [2, 1, 0]
    assert list(scene.core.closes) == entries


def test_a_dial_that_ends_after_the_close_is_closed_and_not_pooled() -> None:
    scene = Scene()
    scene.ask(2)
    scene.core.close(RuntimeError("closed"))
    scene.connect()
    scene.refuse()
    assert (len(scene.core.closes), scene.core.counters.pool_closed, len(scene.failed)) == (1, 1, 2)


# ------------------------------------------------------------------------------------------------ cost


def lines_run(work: Callable[[], object]) -> int:
    """Lines of Python that `work` executes: a cost that no other process can change."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def crowd(idle: int = 0, waiting: int = 0) -> Scene:
    scene = Scene(max_size=idle + 1, max_idle=60.0, max_age=3600.0)
    for entry in scene.held(idle + 1)[1:]:
        scene.core.give_back(entry, 1.0)
    scene.ask(waiting)
    return scene


def get_and_put(scene: Scene) -> None:
    entry = scene.core.take(2.0)
    assert entry is not None
    scene.core.accept(entry, None, 2.0, waited=None)
    scene.core.give_back(entry, 2.0)


def return_and_wait(scene: Scene) -> None:
    scene.core.give_back(list(scene.served.values())[-1], 2.0)
    [middle] = scene.ask()
    scene.core.leave(middle, EventKind.CANCELLED)


def test_the_cost_does_not_grow_with_what_is_idle() -> None:
    few, many = crowd(idle=10), crowd(idle=10_000)
    assert lines_run(lambda: get_and_put(few)) == lines_run(lambda: get_and_put(many))


def test_the_cost_does_not_grow_with_those_who_wait() -> None:
    few, many = crowd(waiting=10), crowd(waiting=10_000)
    assert (len(few.core.line), len(many.core.line)) == (10, 10_000)
    assert lines_run(lambda: return_and_wait(few)) == lines_run(lambda: return_and_wait(many))
