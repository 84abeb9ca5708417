from __future__ import annotations

import pytest

from swarmpool.connection_pool.line import Line, Ticket


def tickets(count: int) -> list[Ticket]:
    return [Ticket(number, 0.0) for number in range(1, count + 1)]


def test_tickets_come_out_in_order_of_arrival() -> None:
    line, arrived = Line(), tickets(3)
    for ticket in arrived:
        line.join(ticket)
    assert len(line) == 3
    assert [line.pop(), line.pop(), line.pop(), line.pop()] == [*arrived, None]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_those_who_come_back_stand_before_all_newcomers_and_among_themselves_in_order(order: tuple[int, int]) -> None:
    line, arrived = Line(), tickets(4)
    for ticket in arrived[2:]:
        line.join(ticket)
    for place in order:
        line.rejoin(arrived[place])
    assert len(line) == 4
    assert [line.pop() for _ in range(4)] == arrived


def test_a_ticket_leaves_once_from_wherever_it_stands() -> None:
    line, (first, second, third) = Line(), tickets(3)
    line.join(second)
    line.join(third)
    line.rejoin(first)
    assert [line.leave(ticket) for ticket in (first, second, first, second)] == [True, True, False, False]
    assert (len(line), line.pop(), len(line)) == (1, third, 0)
