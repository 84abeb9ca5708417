"""The assertions hold where they should, and their failures name who made them fail."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from answers import hello
from raw_http import Peer, get
from raw_websocket import masked, websocket

from fleetsim import Fleet


async def ask(peer: Peer, times: int = 1) -> None:
    for _ in range(times):
        await peer.send(get("/"))
        await peer.response()


def fleet_of(size: int) -> Fleet:
    return Fleet(size, answer=lambda index: hello)


async def test_reuse_is_asserted_by_the_ratio_of_requests_on_used_connections() -> None:
    async with fleet_of(1) as fleet, Peer(fleet[0].port) as peer:
        await ask(peer, 10)
        fleet.assert_reused(min_ratio=0.9)
        with pytest.raises(AssertionError, match=r"9 of 10 requests .* a ratio of 0\.9; expected at least 0\.95"):
            fleet.assert_reused(min_ratio=0.95)


async def test_want_of_reuse_lists_the_least_used_connections_first() -> None:
    async with fleet_of(2) as fleet, Peer(fleet[0].port) as often, Peer(fleet[1].port) as once:
        await ask(often, 3)
        await ask(once)
        with pytest.raises(AssertionError) as failure:
            fleet.assert_reused()
        _, first, second = str(failure.value).splitlines()
        assert first.startswith("  server 1: connection ")
        assert first.endswith(", 1 request, open, idle")
        assert second.endswith(", 3 requests, open, idle")


async def test_no_request_at_all_is_no_reuse() -> None:
    async with fleet_of(1) as fleet:
        with pytest.raises(AssertionError, match="0 of 0 requests"):
            fleet.assert_reused(min_ratio=0)


async def test_connections_opened_are_asserted_from_above_and_below() -> None:
    async with fleet_of(2) as fleet, Peer(fleet[1].port) as peer:
        await ask(peer)
        fleet.assert_opened(at_least=1, at_most=1)
        with pytest.raises(
            AssertionError, match=r"1 connection opened, expected at most 0: 1 on server 1, 0 on server 0"
        ):
            fleet.assert_opened(at_most=0)
        with pytest.raises(AssertionError, match="expected at least 2 and at most 3"):
            fleet.assert_opened(at_least=2, at_most=3)


async def test_waiting_in_the_fleets_own_loop_is_refused() -> None:
    async with fleet_of(1) as fleet, Peer(fleet[0].port) as peer:
        await ask(peer)
        with pytest.raises(RuntimeError, match="would block the fleet's own loop"):
            fleet.assert_all_closed()


def test_a_connection_that_closes_in_time_is_closed() -> None:
    with fleet_of(1) as fleet:
        with urllib.request.urlopen(fleet[0].url) as response:
            response.read()
        fleet.assert_all_closed(within="5s")


def test_open_connections_are_listed_when_time_is_up() -> None:
    with fleet_of(1) as fleet, socket.create_connection(("127.0.0.1", fleet[0].port)) as client:
        client.sendall(get("/"))
        fleet.ledger.wait_for_sync(requests=1, in_flight=0)
        with pytest.raises(AssertionError, match=r"after 1ms 1 of 1 connections are open\n  server 0: .*, open, idle$"):
            fleet.assert_all_closed(within="1ms")
        with fleet.hold() as hold:
            client.sendall(get("/stuck"))
            hold.wait_for_sync(in_flight=1)
            with pytest.raises(AssertionError, match="open, serving GET /stuck"):
                fleet.assert_all_closed(within=0)


async def test_an_open_websocket_is_told_with_what_it_carried() -> None:
    async with Fleet(1) as fleet:
        async with websocket(fleet[0].port) as peer:
            await peer.send(masked(1, b"hi"))
            await peer.until(b"hi")
            with pytest.raises(AssertionError, match=r"open, a websocket at /echo, 1 message in and 1 out$"):
                fleet.assert_opened(at_most=0)
        await fleet.ledger.wait_for(open_now=0)
        fleet.assert_all_closed()
        with pytest.raises(AssertionError, match=r"after .*, a websocket at /echo, 1 message in and 1 out$"):
            fleet.assert_reused()


async def test_balance_is_asserted_per_server() -> None:
    async with fleet_of(3) as fleet:
        for server, times in zip(fleet, (4, 4, 1), strict=True):
            async with Peer(server.port) as peer:
                await ask(peer, times)
        fleet.assert_balanced(within=0.7)
        with pytest.raises(AssertionError) as failure:
            fleet.assert_balanced()
        said, *astray = str(failure.value).splitlines()
        assert said.startswith(
            "9 requests to 3 servers, 3 each on average; expected 1.5 to 4.5 for every server, and 1"
        )
        assert astray == ["  server 2: 1 request, 0.33 of the mean"]


async def test_no_request_at_all_is_no_balance() -> None:
    async with fleet_of(2) as fleet:
        with pytest.raises(AssertionError, match="0 requests to 2 servers"):
            fleet.assert_balanced()


async def test_long_evidence_is_cut_short_and_says_so() -> None:
    async with fleet_of(1) as fleet:
        for _ in range(14):
            async with Peer(fleet[0].port) as peer:
                await ask(peer)
        with pytest.raises(AssertionError) as failure:
            fleet.assert_opened(at_most=13)
        assert str(failure.value).splitlines()[-1] == "  ... and 2 more"


async def test_lines_lost_from_the_journal_are_told() -> None:
    async with Fleet(1, answer=lambda index: hello, journal_lines=1) as fleet, Peer(fleet[0].port) as peer:
        await ask(peer)
        with pytest.raises(AssertionError, match=r"\(1 older line dropped from the journal\)$"):
            fleet.assert_opened(at_most=0)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
async def test_a_limit_that_cannot_be_is_a_value_error(ratio: float) -> None:
    fleet = fleet_of(1)
    with pytest.raises(ValueError, match="min_ratio: expected 0 to 1, got"):
        fleet.assert_reused(min_ratio=ratio)
    with pytest.raises(ValueError, match="expected at_most, at_least or both"):
        fleet.assert_opened()
    with pytest.raises(ValueError, match="within: expected a fraction of at least 0"):
        fleet.assert_balanced(within=-1)
    with pytest.raises(ValueError, match="expected a duration such as 80ms"):
        fleet.assert_all_closed(within="100")


def test_connections_that_are_not_accepted_yet_are_seen() -> None:
    """For the client they are there: asserting at once used to pass, or not, as the threads happened to run."""
    with fleet_of(2) as fleet:
        for opened in range(0, 60, 3):
            places = [("127.0.0.1", server.port) for server in fleet]
            clients = [socket.create_connection(place) for place in (*places, places[0])]
            with pytest.raises(AssertionError, match=f"3 of {opened + 3} connections are open"):
                fleet.assert_all_closed(within=0.001)
            fleet.assert_opened(at_least=opened + 3, at_most=opened + 3)
            for client in clients:
                client.close()
            fleet.assert_all_closed(within=10)
