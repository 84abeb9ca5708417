from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from swarmpool import admission
from swarmpool.admission import Admission, Ticket

AGENTS = ["a", "b", "c", None]
KEEPER = "who wants to keep a socket"


def serve_all(capacity: int, per_agent: int | None = None) -> tuple[Admission, list[object]]:
    """An admission whose owners are all alive, and the list of those it served."""
    served: list[object] = []

    def hand_over(ticket: Ticket) -> bool:
        served.append(ticket.owner)
        return True

    return Admission(capacity=capacity, capacity_per_agent=per_agent, hand_over=hand_over), served


def test_slots_are_taken_at_once_until_none_is_left() -> None:
    doors, _ = serve_all(2)
    assert [doors.admit("a"), doors.admit("a"), doors.admit("b")] == [True, True, False]
    assert (doors.in_use, doors.peak_in_use, doors.full, doors.waiting) == (2, 2, True, 0)


def test_an_agent_at_its_cap_is_refused_and_others_are_not() -> None:
    doors, _ = serve_all(10, per_agent=1)
    assert [doors.admit("a"), doors.admit("a"), doors.admit("b")] == [True, False, True]
    assert (doors.in_use_by("a"), doors.in_use_by("b"), doors.in_use_by("c")) == (1, 1, 0)


def test_a_cap_that_rises_is_handed_out_at_once_and_one_that_falls_takes_nothing_back() -> None:
    doors, served = serve_all(10, per_agent=1)
    doors.admit("a")
    for name in ("one", "two", "three"):
        doors.enqueue("a", name)
    doors.resize("a", 3)
    assert (served, doors.in_use_by("a"), doors.cap_of("a"), doors.cap_of("b")) == (["one", "two"], 3, 3, 1)
    doors.resize("a", 1)
    assert doors.in_use_by("a") == 3
    for left in (2, 1):
        doors.release("a")
        assert (doors.in_use_by("a"), len(served)) == (left, 2)
    doors.release("a")
    assert served == ["one", "two", "three"]


def test_without_a_cap_there_is_nothing_to_resize() -> None:
    doors, _ = serve_all(2)
    assert doors.cap_of("a") is None
    with pytest.raises(RuntimeError, match="no cap per agent"):
        doors.resize("a", 2)


def test_no_agent_means_no_cap_per_agent() -> None:
    doors, _ = serve_all(3, per_agent=1)
    assert [doors.admit(None) for _ in range(4)] == [True, True, True, False]
    doors.enqueue(None, "first")
    doors.release(None)
    assert (doors.in_use, doors.waiting, doors.in_use_by(None)) == (3, 0, 0)


def test_a_released_slot_goes_to_who_came_first() -> None:
    doors, served = serve_all(1)
    doors.admit("a")
    for name in ("one", "two", "three"):
        doors.enqueue("a", name)
    for _ in range(3):
        doors.release("a")
    assert served == ["one", "two", "three"]


def test_only_those_whose_agent_is_full_are_passed_over() -> None:
    doors, served = serve_all(2, per_agent=1)
    doors.admit("slow")
    doors.admit("fast")
    for agent, name in [("slow", "s1"), ("slow", "s2"), ("fast", "f1"), ("fast", "f2")]:
        doors.enqueue(agent, name)
    doors.release("fast")
    doors.release("slow")
    doors.release("fast")
    assert served == ["f1", "s1", "f2"]


def test_a_slot_refused_by_a_gone_owner_goes_to_the_next() -> None:
    asked: list[object] = []

    def hand_over(ticket: Ticket) -> bool:
        asked.append(ticket.owner)
        return ticket.owner != "gone"

    doors = Admission(capacity=1, hand_over=hand_over)
    doors.admit("a")
    doors.enqueue("a", "gone")
    doors.enqueue("a", "alive")
    doors.release("a")
    assert asked == ["gone", "alive"]
    assert (doors.in_use, doors.waiting) == (1, 0)


def test_a_ticket_can_be_withdrawn_once() -> None:
    doors, served = serve_all(1, per_agent=1)
    doors.admit("a")
    ticket = doors.enqueue("a", "one")
    assert (doors.withdraw(ticket), doors.withdraw(ticket), doors.waiting) == (True, False, 0)
    doors.release("a")
    assert (served, doors.in_use) == ([], 0)


@pytest.mark.parametrize("per_agent", [None, 5])
def test_who_stands_behind_a_withdrawn_ticket_moves_up(per_agent: int | None) -> None:
    doors, served = serve_all(1, per_agent=per_agent)
    doors.admit("a")
    first = doors.enqueue("a", "first")
    doors.enqueue("b", "between")
    doors.enqueue("a", "last")
    doors.withdraw(first)
    doors.release("a")
    doors.release("b")
    assert served == ["between", "last"]


def test_a_ticket_that_was_served_cannot_be_withdrawn() -> None:
    doors, _ = serve_all(1)
    doors.admit("a")
    ticket = doors.enqueue("a", "one")
    doors.release("a")
    assert not doors.withdraw(ticket)
    assert doors.in_use == 1


def test_tickets_expire_in_order_of_arrival_and_not_before_their_time() -> None:
    doors, _ = serve_all(1)
    doors.admit("a")
    for number in range(4):
        doors.enqueue("a", number, deadline=float(number))
    assert [ticket.owner for ticket in doors.expired(1.5)] == [0, 1]
    oldest = doors.oldest()
    assert oldest is not None
    assert oldest.owner == 2


def test_tickets_without_a_deadline_never_expire() -> None:
    doors, _ = serve_all(1)
    doors.admit("a")
    doors.enqueue("a", "patient")
    assert list(doors.expired(float("inf"))) == []


@pytest.mark.parametrize("per_agent", [None, 2])
def test_a_slot_that_nobody_holds_cannot_be_released(per_agent: int | None) -> None:
    """One release too many would let one request too many in, for ever."""
    doors, _ = serve_all(4, per_agent=per_agent)
    with pytest.raises(RuntimeError, match=r"^a slot was released that nobody holds$"):
        doors.release("a")
    assert (doors.in_use, doors.full) == (0, False)


def test_a_slot_cannot_be_released_for_another_agent() -> None:
    doors, _ = serve_all(4, per_agent=2)
    doors.admit("a")
    doors.enqueue("b", "waits")  # so that b is known
    with pytest.raises(RuntimeError, match=r"^a slot was released that nobody holds for b$"):
        doors.release("b")
    assert (doors.in_use, doors.in_use_by("a"), doors.in_use_by("b")) == (1, 1, 0)


def test_agents_that_nobody_uses_are_forgotten() -> None:
    doors, _ = serve_all(1, per_agent=1)
    for number in range(100):
        doors.admit(number)
        doors.withdraw(doors.enqueue(number, "left"))
        doors.withdraw(doors.enqueue(-number, "left"))
        doors.enqueue(number + 1, "stays")
        doors.release(number)
        doors.release(number + 1)
    assert (doors.in_use, doors.waiting, len(doors._lines), len(doors._heap)) == (0, 0, 0, 0)


# ------------------------------------------------------------------------------------------------ kept sockets


def keeping(capacity: int, sockets: int, per_agent: int | None = None) -> tuple[Admission, list[object]]:
    served: list[object] = []

    def hand_over(ticket: Ticket) -> bool:
        served.append(ticket.owner)
        return True

    doors = Admission(capacity=capacity, capacity_per_agent=per_agent, sockets=sockets, hand_over=hand_over)
    return doors, served


def test_a_kept_socket_takes_no_slot_while_there_are_sockets_enough() -> None:
    doors, _ = keeping(2, sockets=4)
    assert [doors.keep(), doors.keep()] == [True, True]
    assert (doors.capacity, doors.in_use, doors.kept) == (2, 0, 2)
    assert [doors.admit("a"), doors.admit("a"), doors.admit("a")] == [True, True, False]


def test_requests_have_the_slots_that_the_sockets_left_to_them_allow() -> None:
    doors, served = keeping(4, sockets=4)
    doors.keep()
    assert [doors.admit("a") for _ in range(4)] == [True, True, True, False]
    doors.enqueue("a", "the fourth")
    assert (doors.capacity, doors.wanted) == (3, 1)
    doors.give_up()
    assert (doors.capacity, served) == (4, ["the fourth"])


def test_one_socket_is_never_kept() -> None:
    doors, _ = keeping(4, sockets=2)
    assert [doors.keep(), doors.keep()] == [True, False]
    assert not keeping(1, sockets=1)[0].keep()


def test_requests_and_keepers_stand_in_one_line() -> None:
    doors, served = keeping(2, sockets=2)
    doors.admit("a")
    doors.admit("a")
    doors.enqueue("a", "request 1")
    doors.enqueue_keeper("keeper 2")
    doors.enqueue("a", "request 3")
    doors.release("a")
    doors.release("a")
    assert served == ["request 1", "keeper 2"]
    doors.release("a")
    assert served == ["request 1", "keeper 2", "request 3"]


def test_a_keeper_passes_those_who_wait_for_a_slot_and_lack_no_socket() -> None:
    doors, served = keeping(1, sockets=2)
    doors.admit("a")
    doors.enqueue("a", "request")
    assert doors.keep()
    assert (served, doors.waiting) == ([], 1)


def test_one_who_may_not_keep_the_last_socket_wants_another_to_be_given_up() -> None:
    doors, _ = keeping(2, sockets=2)
    doors.keep()
    doors.enqueue_keeper("second")
    assert (doors.wanted, doors.spare) == (1, 0)


def test_requests_that_wait_for_their_agent_want_no_socket_to_be_given_up() -> None:
    doors, served = keeping(4, sockets=4, per_agent=1)
    assert [doors.keep(), doors.keep(), doors.admit("a"), doors.admit("b")] == [True] * 4
    for agent in "aabc":
        doors.enqueue(agent, f"{agent} waits")
    assert doors.wanted == 1
    doors.give_up()
    assert (served, doors.wanted) == (["c waits"], 0)


def test_a_keeper_that_waits_can_leave() -> None:
    doors, served = keeping(2, sockets=2)
    doors.keep()
    ticket = doors.enqueue_keeper("second")
    assert (doors.keepers_waiting, doors.withdraw(ticket), doors.withdraw(ticket)) == (1, True, False)
    doors.give_up()
    assert (served, doors.kept) == ([], 0)


def test_a_socket_that_nobody_keeps_cannot_be_given_up() -> None:
    doors, _ = keeping(2, sockets=2)
    with pytest.raises(RuntimeError, match="nobody keeps"):
        doors.give_up()
    assert doors.capacity == 2


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


def crowd(waiters: int, agents: int) -> Admission:
    """All slots in use, one for each agent, and `waiters` in line for them in turn."""
    doors, _ = serve_all(agents, per_agent=1)
    for agent in range(agents):
        doors.admit(agent)
    for number in range(waiters):
        doors.enqueue(number % agents, number)
    return doors


def one_of_each(doors: Admission) -> None:
    """Serve somebody, let somebody in, let somebody leave from the middle."""
    doors.release(0)
    middle = doors.enqueue(0, "middle")
    doors.enqueue(0, "last")
    doors.withdraw(middle)
    doors.admit(0)


def test_the_cost_does_not_grow_with_those_who_wait() -> None:
    few, many = crowd(10, 5), crowd(10_000, 5)
    assert lines_run(lambda: one_of_each(few)) == lines_run(lambda: one_of_each(many))


def test_the_cost_does_not_grow_with_agents_that_are_full() -> None:
    few, many = crowd(10, 5), crowd(8_000, 4_000)
    assert lines_run(lambda: one_of_each(few)) == lines_run(lambda: one_of_each(many))


def test_each_ticket_is_pushed_on_the_heap_at_most_once_if_nobody_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[Any] = []

    def push(heap: list[Any], item: Any) -> None:
        pushed.append(item)
        heapq.heappush(heap, item)

    monkeypatch.setattr(admission, "heappush", push)
    doors, served = serve_all(1, per_agent=1)
    doors.admit(0)
    for number in range(3_000):
        doors.enqueue(number % 1_000, number)
    for number in [0, *range(2_999)]:
        doors.release(number % 1_000)
    assert served == list(range(3_000))
    assert len(pushed) == 3_000


# ------------------------------------------------------------------------------------------------ against a model


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of events, against a list that is searched from the front for whoever can be served."""

    tickets = Bundle("tickets")

    @initialize(capacity=st.integers(1, 4), per_agent=st.none() | st.integers(1, 3), sockets=st.integers(1, 6))
    def start(self, capacity: int, per_agent: int | None, sockets: int) -> None:
        self.capacity, self.per_agent, self.sockets = capacity, per_agent, sockets
        self.doors = Admission(
            capacity=capacity, capacity_per_agent=per_agent, sockets=sockets, hand_over=self.hand_over
        )
        self.kept = 0
        self.caps: dict[str, int] = {}
        self.now = 0.0
        self.gone: set[int] = set()
        self.served: list[int] = []
        self.expected: list[int] = []
        self.line: list[Ticket] = []
        self.held: list[object] = []

    def hand_over(self, ticket: Ticket) -> bool:
        self.served.append(ticket.number)
        return ticket.number not in self.gone

    @rule(target=tickets, agent=st.sampled_from(AGENTS))
    def arrive(self, agent: str | None) -> Any:
        fits = self.fits(agent)
        assert self.doors.admit(agent) is fits
        if fits:
            self.held.append(agent)
            return multiple()
        ticket = self.doors.enqueue(agent, None, deadline=self.now + 10)
        self.line.append(ticket)
        return ticket

    @rule(target=tickets)
    def keep(self) -> Any:
        fits = self.fits(KEEPER) and not any(ticket.owner is KEEPER for ticket in self.line)
        assert self.doors.keep() is fits
        if fits:
            self.kept += 1
            return multiple()
        self.line.append(self.doors.enqueue_keeper(KEEPER))
        return self.line[-1]

    @rule()
    def give_up(self) -> None:
        if self.kept:
            self.kept -= 1
            self.expect_handing_over()
            self.doors.give_up()

    @rule(ticket=consumes(tickets))
    def withdraw(self, ticket: Ticket) -> None:
        waits = ticket in self.line
        assert self.doors.withdraw(ticket) is waits
        if waits:
            self.line.remove(ticket)

    @rule(ticket=tickets)
    def owner_goes(self, ticket: Ticket) -> None:
        """Cancelled, and not yet run to withdraw."""
        self.gone.add(ticket.number)

    @rule(seconds=st.integers(1, 8))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        due = [ticket for ticket in self.line if ticket.deadline is not None and ticket.deadline <= self.now]
        assert list(self.doors.expired(self.now)) == due
        self.line = [ticket for ticket in self.line if ticket not in due]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            agent = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.expect_handing_over()
            self.doors.release(agent)

    @rule(agent=st.sampled_from(AGENTS[:-1]), cap=st.integers(1, 4))
    def resize(self, agent: str, cap: int) -> None:
        if self.per_agent is not None:
            self.caps[agent] = cap
            self.expect_handing_over()
            self.doors.resize(agent, cap)

    def cap(self, agent: object) -> int:
        assert self.per_agent is not None
        assert isinstance(agent, str)
        return self.caps.get(agent, self.per_agent)

    def fits(self, agent: object) -> bool:
        if len(self.held) + self.kept >= self.sockets:
            return False
        if agent is KEEPER:
            return self.kept < self.sockets - 1
        if len(self.held) >= self.capacity:
            return False
        if agent is None or self.per_agent is None:
            return True
        return self.held.count(agent) < self.cap(agent)

    def wants(self, ticket: Ticket) -> object:
        return KEEPER if ticket.owner is KEEPER else ticket.agent

    def expect_handing_over(self) -> None:
        while (first := next((ticket for ticket in self.line if self.fits(self.wants(ticket))), None)) is not None:
            self.line.remove(first)
            self.expected.append(first.number)
            if first.number in self.gone:
                continue
            if first.owner is KEEPER:
                self.kept += 1
            else:
                self.held.append(first.agent)

    @invariant()
    def served_in_the_order_of_the_model(self) -> None:
        assert self.served == self.expected

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        assert not any(self.fits(self.wants(ticket)) for ticket in self.line)
        requests = [ticket for ticket in self.line if ticket.owner is not KEEPER]
        assert (self.doors.waiting, self.doors.keepers_waiting) == (len(requests), len(self.line) - len(requests))
        assert self.doors.oldest() is (requests[0] if requests else None)

    @invariant()
    def sockets_suffice_and_one_is_left_for_requests(self) -> None:
        assert self.doors.kept == self.kept < self.sockets
        assert self.doors.in_use + self.doors.kept <= self.sockets
        assert self.doors.wanted == self.doors.keepers_waiting + self.requests_that_lack_a_socket_only()

    def requests_that_lack_a_socket_only(self) -> int:
        if self.doors.in_use + self.doors.kept < self.sockets:
            return 0
        waiting = Counter(ticket.agent for ticket in self.line if ticket.owner is not KEEPER)
        for agent in waiting:
            if agent is not None and self.per_agent is not None:
                waiting[agent] = min(waiting[agent], max(0, self.cap(agent) - self.held.count(agent)))
        return min(waiting.total(), min(self.capacity, self.sockets) - len(self.held))

    @invariant()
    def no_slot_is_lost_or_given_twice(self) -> None:
        assert self.doors.in_use == len(self.held) <= self.doors.peak_in_use <= self.capacity
        if self.per_agent is not None:
            for agent in AGENTS[:-1]:
                assert agent is not None
                assert self.doors.in_use_by(agent) == self.held.count(agent)
                assert self.doors.cap_of(agent) == self.cap(agent)
                assert self.caps or self.held.count(agent) <= self.per_agent

    @invariant()
    def the_heap_holds_at_most_one_entry_per_agent(self) -> None:
        agents = [key for _, key in self.doors._heap]
        assert len(set(agents)) == len(agents) <= len(AGENTS)


AdmissionMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestAdmission = AdmissionMachine.TestCase
