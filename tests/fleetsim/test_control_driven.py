from __future__ import annotations

from answers import hello
from raw_http import Peer, get

from fleetsim import Fleet, Rule
from fleetsim.control.driven import DrivenFleet


async def test_the_servers_of_a_part_are_asked_for_by_their_numbers_in_the_whole() -> None:
    async with Fleet(2, first_index=5, answer=lambda index: hello) as fleet, Peer(fleet[1].port) as peer:
        await peer.send(get("/"))
        await peer.response()
        driven = DrivenFleet(fleet)
        assert [(await driven.figures(index))["requests"] for index in (5, 6, None)] == [0, 1, 1]
        assert [server["index"] for server in await driven.servers()] == [5, 6]


async def test_a_rule_keeps_the_number_that_another_gave_it() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        driven = DrivenFleet(fleet)
        assert (await driven.arm(Rule.parse("reset"), number=7))["number"] == 7
        assert [each["number"] for each in await driven.rules()] == [7]
        assert (await driven.remove(6), (await driven.remove(7) or {})["number"]) == (None, 7)
