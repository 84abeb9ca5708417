from __future__ import annotations

import asyncio
import logging
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import cast

import pytest
from answers import hello
from raw_http import Peer, post

from fleetsim import Fleet, Profile, RuleError
from fleetsim.faults.armoury import Armoury
from fleetsim.faults.doorkeeper import Doorkeeper
from fleetsim.faults.kinds import Process
from fleetsim.faults.rules import Rule


class Doors:
    """Notes what is done to them. `listen_again` goes on when it is let."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.let, self.heard = asyncio.Event(), asyncio.Event()
        self.let.set()

    def process(self) -> Process:
        return cast("Process", SimpleNamespace(doors=self))

    def pause_accepting(self) -> None:
        self.seen.append("pause")

    async def resume_accepting(self) -> None:
        self.seen.append("resume")

    def refuse(self) -> None:
        self.seen.append("refuse")

    async def listen_again(self) -> None:
        await self.let.wait()
        self.seen.append("listen")
        self.heard.set()


async def answers(port: int) -> bool:
    """Whether a request to `port` is answered; where it is not, the connection was refused."""
    try:
        async with Peer(port) as peer:
            await peer.send(post("/"))
            return (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    except ConnectionRefusedError:
        return False


async def test_a_fault_of_a_server_holds_while_its_rule_is_open() -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet:
        async with fleet[1].fault("refuse") as rule:
            assert [await answers(server.port) for server in fleet] == [True, False]
            assert (rule.armed, rule.fired) == (1, 1)
        assert [await answers(server.port) for server in fleet] == [True, True]


async def test_it_heals_itself_when_its_time_is_over() -> None:
    keeper, doors, armoury = Doorkeeper(lambda faults: None), Doors(), Armoury()
    now = asyncio.get_running_loop().time()
    armoury.join(0, {}, lambda rules: None).doorkeeper = keeper
    armoury.begin(lambda: now)
    await keeper.open(doors.process())
    rule = armoury.arm(Rule.parse({"fault": "refuse", "for": "1ms"}))
    async with asyncio.timeout(10):
        await doors.heard.wait()
    rule.remove()
    await rule.settled()
    assert doors.seen == ["refuse", "listen"]
    assert rule.is_over(now + 1)


async def test_what_a_profile_asks_for_holds_before_the_fleet_is_entered() -> None:
    profile = Profile.parse({"faults": [{"fault": "refuse", "where": {"server": 0}}]})
    async with Fleet(2, profile=profile, answer=lambda index: hello) as fleet:
        assert [await answers(server.port) for server in fleet] == [False, True]
        await fleet.renew()
        assert [await answers(server.port) for server in fleet] == [False, True]
        fleet.faults.clear()
        await fleet.faults.settled()
        assert [await answers(server.port) for server in fleet] == [True, True]


async def test_overlapping_ones_come_off_independently() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        first, second = fleet.fault("refuse"), fleet[0].fault("refuse")
        await first.settled()
        for rule, expected in ((first, False), (second, True)):
            rule.remove()
            rule.remove()
            await rule.settled()
            assert await answers(fleet[0].port) is expected


async def test_steps_are_done_in_the_order_they_were_asked_for() -> None:
    doors, armoury = Doors(), Armoury()
    server = armoury.join(0, {}, lambda rules: None)
    armoury.begin(asyncio.get_running_loop().time)
    await server.doorkeeper.open(doors.process())
    doors.let.clear()
    async with armoury.arm(Rule.parse("refuse")) as first:
        pass_by = armoury.arm(Rule.parse("accept_paused"))
        pass_by.remove()
        first.remove()
        second = armoury.arm(Rule.parse("refuse"))
        doors.let.set()
    assert doors.seen == ["refuse", "listen", "refuse"]
    assert (first.fired, pass_by.fired, second.fired) == (1, 0, 1)
    server.doorkeeper.leave()


def test_from_another_thread_it_holds_when_the_call_returns() -> None:
    with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet.fault("refuse"), pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(fleet[0].url, timeout=10)
        with urllib.request.urlopen(fleet[0].url, timeout=10) as healed:
            assert healed.status == 200


async def test_a_server_that_ends_meanwhile_begins_and_ends_nothing_more() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        rule, healing = fleet.fault("refuse"), fleet.fault("accept_paused", for_="1h")
        await rule.settled()
        rule.remove()
        port = fleet[0].port
    healing.remove()
    await rule.settled()
    assert not await answers(port)


async def test_a_port_that_is_somebody_elses_by_now_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        rule = fleet.fault("refuse")
        await rule.settled()
        with socket.create_server(("127.0.0.1", fleet[0].port)), caplog.at_level(logging.ERROR, "fleetsim"):
            rule.remove()
            await rule.settled()
        assert caplog.messages[0].startswith("refuse could not end: cannot listen on 127.0.0.1 port ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"rate": 0.5}, "rate: expected none for refuse, which holds for a server as a whole, got 0.5"),
        ({"times": 1}, "times: expected none for refuse"),
        ({"after": 1}, "after: expected none for refuse"),
        ({"where": {"route": "/"}}, "where: route: expected none for refuse"),
        ({"where": {"connection": 1}}, "where: connection: expected none for refuse"),
    ],
)
def test_what_makes_no_sense_for_a_server_is_refused(words: dict[str, object], complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        Rule.parse({"fault": "refuse", **words})
    with pytest.raises(RuleError, match="script: expected faults of connections and requests, got refuse"):
        Fleet(1, answer=lambda index: hello)[0].script("ok", "refuse")
