from __future__ import annotations

import pytest

from fleetsim.engine.request import Request
from fleetsim.engine.waiting import waiting_line


def arrived(order: int, priority: int = 0) -> Request:
    request = Request(1, 1, priority=priority)
    request.order = order
    return request


def test_by_arrival_the_preempted_one_is_first_again() -> None:
    line = waiting_line("fcfs")
    first, second = arrived(1), arrived(2)
    line.join(second)
    line.rejoin(first)
    assert list(line) == [first, second]


def test_by_priority_lower_goes_first_and_then_arrival() -> None:
    line = waiting_line("priority")
    late, early, urgent = arrived(3), arrived(1), arrived(4, priority=-1)
    for each in (late, early, urgent):
        line.join(each)
    assert (line.first(), list(line)) == (urgent, [urgent, early, late])


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_those_who_give_up_are_gone_wherever_they_stood(policy: str) -> None:
    line = waiting_line("fcfs" if policy == "fcfs" else "priority")
    requests = [arrived(order) for order in range(5)]
    for each in requests:
        line.join(each)
    line.drop({requests[0], requests[2]})
    assert list(line) == [requests[1], requests[3], requests[4]]
    line.leave()
    assert (line.first(), len(line)) == (requests[3], 2)
