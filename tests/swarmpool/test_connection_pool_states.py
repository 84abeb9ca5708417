from __future__ import annotations

import itertools

import pytest

from swarmpool.connection_pool.states import ConnectionState, Entry

DIALING, IDLE, LEASED, CLOSING, CLOSED = ConnectionState
LEGAL = {
    *((DIALING, after) for after in (IDLE, CLOSING, CLOSED)),
    *((IDLE, after) for after in (LEASED, CLOSING)),
    *((LEASED, after) for after in (IDLE, CLOSING)),
    (CLOSING, CLOSED),
}
WAYS = {DIALING: [], IDLE: [IDLE], LEASED: [IDLE, LEASED], CLOSING: [CLOSING], CLOSED: [CLOSED]}


def entry_in(state: ConnectionState) -> Entry[object]:
    entry: Entry[object] = Entry(7, generation=0, started_at=0.0, lifetime=1.0)
    for step in WAYS[state]:
        entry.move(step)
    return entry


@pytest.mark.parametrize(("before", "after"), sorted(LEGAL))
def test_a_legal_move_says_where_it_came_from(before: ConnectionState, after: ConnectionState) -> None:
    entry = entry_in(before)
    assert entry.move(after) is before
    assert entry.state is after


@pytest.mark.parametrize(("before", "after"), sorted(set(itertools.product(ConnectionState, repeat=2)) - LEGAL))
def test_an_illegal_move_raises_and_changes_nothing(before: ConnectionState, after: ConnectionState) -> None:
    entry = entry_in(before)
    with pytest.raises(RuntimeError, match=rf"^connection 7 is {before.name} and cannot become {after.name}$"):
        entry.move(after)
    assert entry.state is before


def test_the_repr_does_not_show_the_connection() -> None:
    entry = entry_in(LEASED)
    entry.connection = "wss://user:secret@host"
    assert repr(entry) == "<Entry 7 LEASED>"
