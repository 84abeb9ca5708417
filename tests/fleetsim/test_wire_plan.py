"""What several faults for one request come to, and who chooses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from answers import hello
from faulty import BODY, asking
from raw_http import Peer, post

from fleetsim import Fault, Fleet, parse_fault
from fleetsim.faults.body import Stalls
from fleetsim.faults.catalogue import parse_faults
from fleetsim.records import ConnectionLine, RequestLine
from fleetsim.wire.endings import DEFAULT_ENDING, Eager
from fleetsim.wire.plan import Plan


class Notes:
    """Rules that note what they are asked, and choose the same faults for every request."""

    def __init__(self, chosen: str) -> None:
        self.chosen = parse_faults(chosen)
        self.connections: list[int] = []
        self.requests: list[tuple[int, str, str | None]] = []

    def for_connection(self, line: ConnectionLine) -> Sequence[Fault]:
        self.connections.append(line.connection)
        return ()

    def for_request(self, line: RequestLine, headers: Mapping[str, str]) -> Sequence[Fault]:
        self.requests.append((line.on_connection, line.path, headers.get("X-MARK")))
        return self.chosen


def plan(faults: str) -> Plan:
    return Plan(parse_faults(faults), DEFAULT_ENDING, 1)


@pytest.mark.parametrize(
    ("faults", "ending"),
    [
        ("delay", "split"),
        ("reset", "reset"),
        ("reset, eager", "eager"),
        ("eager, delay, unavailable, stale", "eager"),
        ("stall, reset", "reset"),
        ("reset, stall", "reset"),
        ("stall", "stall"),
    ],
)
def test_the_last_ending_writes_the_response(faults: str, ending: str) -> None:
    assert plan(faults).ending.name == ending


def test_an_ending_of_the_server_writes_the_response_where_no_fault_does() -> None:
    assert Plan(parse_faults("delay"), Eager(), 1).ending == Eager()


def test_stalls_alone_are_one_ending() -> None:
    several = plan("stall;after=1, stall;after=2").ending
    assert isinstance(several, Stalls)
    assert [stall.after for stall in several.stalls] == [1, 2]


def test_all_faults_are_named_in_their_order() -> None:
    assert plan("stale, reset, delay, delay, unavailable").names == ("stale", "reset", "delay", "delay", "unavailable")


@pytest.mark.parametrize(("faults", "status"), [("delay", None), ("unavailable, not_found", 404)])
def test_the_last_status_replaces_the_reply(faults: str, status: int | None) -> None:
    reply = plan(faults).reply()
    assert (None if reply is None else reply.status) == status


async def test_rules_are_asked_once_per_connection_and_once_per_request_before_its_body_is_read() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        rules = fleet[0]._settings.rules = Notes("delay;seconds=0")
        async with Peer(fleet[0].port) as peer:
            request = post("/a", "x-mark: 7", body=b"xx")
            await peer.send(request[:-1])
            await fleet.ledger.wait_for(requests=1)
            assert (rules.connections, rules.requests) == ([1], [(1, "/a", "7")])
            await peer.send(request[-1:])
            await peer.response()
            await peer.send(post("/b"))
            await peer.response()
        assert (rules.connections, rules.requests) == ([1], [(1, "/a", "7"), (2, "/b", None)])
        assert [record.faults for record in fleet.ledger.request_records()] == [("delay",), ("delay",)]


@pytest.mark.parametrize("header", ["x-fleet-fault: delay;seconds=0", "x-fleet-ending: eager"])
async def test_a_request_that_names_its_faults_is_not_shown_to_the_rules(header: str) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        rules = fleet[0]._settings.rules = Notes("unavailable")
        await peer.send(post("/", header))
        assert (await peer.response()).endswith(BODY)
        assert rules.requests == []
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 503 ")


async def test_a_header_that_is_not_honoured_leaves_the_choice_to_the_rules() -> None:
    async with Fleet(1, answer=lambda index: hello, ending_header=False) as fleet, Peer(fleet[0].port) as peer:
        fleet[0]._settings.rules = Notes("unavailable")
        await peer.send(post("/", "x-fleet-fault: not_found"))
        assert (await peer.response()).startswith(b"HTTP/1.1 503 ")


async def test_faults_of_both_headers_and_of_repeated_ones_are_taken_together() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        headers = ("x-fleet-ending: eager", "x-fleet-fault: delay;seconds=0", "X-Fleet-Fault: unavailable, stale")
        await peer.send(post("/", *headers))
        assert (await peer.response()).startswith(b"HTTP/1.1 503 ")
        await fleet.ledger.wait_for(in_flight=0)
        (record,) = fleet.ledger.request_records()
        assert (record.faults, record.ending) == (("delay", "unavailable", "stale", "eager"), "eager")


async def test_the_old_header_takes_every_fault_and_several_of_them() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "x-fleet-ending: delay;seconds=0, unavailable"))
        assert (await peer.response()).startswith(b"HTTP/1.1 503 ")
        await fleet.ledger.wait_for(in_flight=0)
        assert fleet.ledger.request_records()[0].faults == ("delay", "unavailable")


async def test_a_wrong_fault_in_the_header_is_a_400_in_one_sentence() -> None:
    async with asking("delay;second=1s") as (fleet, peer):
        refused = await peer.response()
        assert refused.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert refused.endswith(b"\r\n\r\nX-Fleet-Fault: fault 'delay' has no parameter 'second'; expected seconds\n")
        await fleet.ledger.wait_for(in_flight=0)
        assert fleet.ledger.request_records()[0].faults == ()


async def test_a_server_takes_every_fault_that_writes_a_response_as_its_ending() -> None:
    async with Fleet(1, answer=lambda index: hello, ending="length_too_long;by=3") as fleet:
        assert fleet[0].ending == parse_fault("length_too_long;by=3")
        async with Peer(fleet[0].port) as peer:
            await peer.send(post("/"))
            assert b"content-length: 13\r\n" in await peer.until(BODY)
