from __future__ import annotations

import pytest

from fleetsim.lab.room import Room, visit
from fleetsim.lab.rooms import ROOMS


def test_every_room_has_a_name_of_its_own_and_a_claim_that_is_a_sentence() -> None:
    assert len({room.name for room in ROOMS}) == len(ROOMS)
    assert all(room.claim.endswith(".") and room.source for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_comes_out_as_claimed_on_this_aiohttp(room: Room) -> None:
    account = visit(room)
    assert account.problems == ()
    assert account.conclusion
    assert all(row.done and row.connector and row.fleet and row.why.endswith(".") for row in account.rows)
