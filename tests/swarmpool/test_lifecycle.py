from __future__ import annotations

import itertools

import pytest

from swarmpool.lifecycle import Lifecycle, State

LEGAL = {
    (State.NEW, State.OPEN),
    (State.NEW, State.CLOSED),
    (State.OPEN, State.CLOSING),
    (State.CLOSING, State.CLOSED),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_a_legal_move_is_made_and_an_illegal_one_raises_and_changes_nothing(before: State, after: State) -> None:
    life = Lifecycle()
    life.state = before
    if (before, after) in LEGAL:
        life.move(after)
        assert life.state is after
        return
    with pytest.raises(RuntimeError, match=rf"^a pool that is {before.name} cannot become {after.name}$"):
        life.move(after)
    assert life.state is before


def test_every_life_begins_new_and_ends_closed() -> None:
    assert Lifecycle().state is State.NEW
    assert {after for before, after in LEGAL} - {before for before, after in LEGAL} == {State.CLOSED}
