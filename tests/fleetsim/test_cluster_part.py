from __future__ import annotations

import pytest

from fleetsim import Profile
from fleetsim.cluster.part import part_of


def test_a_part_is_numbered_as_in_the_whole_and_has_the_rules_that_are_for_it() -> None:
    written = [{"fault": "eager", "where": {"server": 0}}, {"fault": "reset", "where": {"server": [1, 5]}}]
    fleet = part_of(2, 2, Profile.parse({"faults": written}), host="127.0.0.1", base_port=9002)
    assert [server.index for server in fleet] == [4, 5]
    assert [(armed.number, armed.rule.fault.name) for armed in fleet.faults.rules()] == [(2, "reset")]
    assert [(server.port, server.tags) for server in fleet] == [(9002, {"rank": "2"}), (9003, {"rank": "2"})]


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^base_port: expected None or 1 to 65534 for 2 servers, got 65535$"):
        part_of(0, 2, Profile(), base_port=65_535)
