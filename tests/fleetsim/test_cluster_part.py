from __future__ import annotations

from functools import partial

import pytest

from fleetsim import Fleet, Profile, ShardedFleet
from fleetsim.cluster.part import part_of

WRITTEN = [{"fault": "eager", "where": {"server": 0}}, {"fault": "reset", "where": {"server": [1, 5]}}]


def test_a_part_is_numbered_as_in_the_whole_and_has_the_rules_that_are_for_it() -> None:
    fleet = part_of(Fleet, 2, 2, Profile.parse({"faults": WRITTEN}), host="127.0.0.1", base_port=9002)
    assert [server.index for server in fleet] == [4, 5]
    assert [(armed.number, armed.rule.fault.name) for armed in fleet.faults.rules()] == [(2, "reset")]
    assert [(server.port, server.tags) for server in fleet] == [(9002, {"rank": "2"}), (9003, {"rank": "2"})]


async def test_a_part_over_two_processes_is_numbered_so_too() -> None:
    make = partial(ShardedFleet, processes=2, control_port=0)
    async with part_of(make, 2, 2, Profile.parse({"faults": WRITTEN})) as fleet:
        servers = await fleet.servers()
        assert [(server["index"], server["tags"]) for server in servers] == [(4, {"rank": "2"}), (5, {"rank": "2"})]
        assert [(rule["number"], rule["fault"]) for rule in await fleet.rules()] == [(2, "reset")]
        with pytest.raises(IndexError, match="server: expected 4 to 5, got 0"):
            await fleet.ledger.snapshot_of(0)
        assert (await fleet.ledger.snapshot_of(5)).opened == 0


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^base_port: expected None or 1 to 65534 for 2 servers, got 65535$"):
        part_of(Fleet, 0, 2, Profile(), base_port=65_535)
