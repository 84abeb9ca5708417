from __future__ import annotations

import threading
import urllib.request

import pytest
from answers import DONE, hello, streamed
from raw_http import Peer, get, post

from fleetsim import Fleet, LedgerTimeoutError


async def test_a_hold_keeps_answers_back_until_it_is_left() -> None:
    fleet = Fleet(2, answer=lambda index: hello)
    async with fleet, Peer(fleet[0].port) as first, Peer(fleet[1].port) as second:
        with fleet.hold() as hold:
            for peer in (first, second):
                await peer.send(post("/"))
            await hold.wait_for(in_flight=2)
            assert first.is_quiet()
            assert second.is_quiet()
        for peer in (first, second):
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_stream_does_not_even_send_its_head() -> None:
    async with Fleet(1, answer=lambda index: streamed(DONE)) as fleet, Peer(fleet[0].port) as peer:
        with fleet.hold() as hold:
            await peer.send(post("/"))
            await hold.wait_for(in_flight=1)
            assert peer.is_quiet()
        assert (await peer.until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_one_server_may_be_held_alone() -> None:
    fleet = Fleet(2, answer=lambda index: hello)
    async with fleet, Peer(fleet[0].port) as held, Peer(fleet[1].port) as free:
        with fleet[0].hold() as hold:
            await held.send(post("/"))
            await free.send(post("/"))
            await free.response()
            await hold.wait_for(in_flight=1)
            assert held.is_quiet()


async def test_an_answer_waits_for_every_hold_there_is() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        outer, inner = fleet.hold(), fleet[0].hold()
        with outer, inner:
            await peer.send(post("/"))
            await outer.wait_for(in_flight=1)
            outer.release()
            outer.release()
            assert fleet[0].holds == [inner]
            assert peer.is_quiet()
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert fleet[0].holds == []


async def test_a_client_may_give_up_while_it_is_held() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet.hold() as hold:
            async with Peer(fleet[0].port) as peer:
                await peer.send(post("/"))
                await hold.wait_for(in_flight=1)
            await hold.wait_for(in_flight=0, open_now=0)
        assert [each.outcome for each in fleet.ledger.request_records()] == ["client_gone"]


async def test_a_fleet_may_be_left_while_it_is_held() -> None:
    fleet = Fleet(1, answer=lambda index: hello)
    async with fleet, Peer(fleet[0].port) as peer:
        hold = fleet.hold()
        with hold:
            await peer.send(post("/"))
            await hold.wait_for(in_flight=1)
            await fleet.__aexit__(None, None, None)
            assert fleet.ledger.in_flight == 0


async def test_waiting_says_what_there_is_when_time_is_up() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with fleet.hold() as hold, pytest.raises(LedgerTimeoutError, match="wanted in_flight=1, have in_flight=0"):
            await hold.wait_for(in_flight=1, timeout=0.01)


def test_synchronous_code_holds_a_fleet_in_its_thread() -> None:
    statuses: list[int] = []

    def ask(url: str) -> None:
        with urllib.request.urlopen(url) as response:
            statuses.append(response.status)

    with Fleet(1, answer=lambda index: hello) as fleet:
        asking = threading.Thread(target=ask, args=(fleet.urls[0],))
        with fleet.hold() as hold:
            asking.start()
            hold.wait_for_sync(in_flight=1)
            assert statuses == []
        asking.join()
        assert statuses == [200]


async def test_requests_that_come_after_the_release_are_not_held() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        with fleet.hold():
            pass
        await peer.send(get("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
