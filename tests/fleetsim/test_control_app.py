from __future__ import annotations

import json
from typing import Any

import pytest
from answers import hello
from multidict import CIMultiDict
from raw_http import Peer, get, post

from fleetsim import Fleet
from fleetsim.control.app import make_control
from fleetsim.exchange import ApiRequest, Unary

HEADERS = CIMultiDict({"host": "localhost", "content-type": "application/json"})


async def call(fleet: Fleet, method: str, target: str, body: object = None) -> tuple[int, Any]:
    path, _, query = target.partition("?")
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    reply = await make_control(fleet, token=None)(ApiRequest(method, path, query, HEADERS, sent))
    assert isinstance(reply, Unary)
    return reply.status, json.loads(reply.body)


async def test_servers_say_where_and_how_they_are() -> None:
    async with Fleet(2, answer=lambda index: hello, tags={"rack": "a"}) as fleet, Peer(fleet[1].port) as peer:
        await peer.send(get("/"))
        await peer.response()
        status, servers = await call(fleet, "GET", "/-/servers")
        assert status == 200
        assert [server["url"] for server in servers] == list(fleet.urls)
        assert servers[1] == {
            "index": 1,
            "url": fleet[1].url,
            "state": "serving",
            "tags": {"rack": "a"},
            "open_now": 1,
            "in_flight": 0,
            "requests": 1,
        }


async def test_the_ledger_is_given_for_the_fleet_and_for_a_server() -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet, Peer(fleet[1].port) as peer:
        await peer.send(get("/"))
        await peer.response()
        _, whole = await call(fleet, "GET", "/-/ledger")
        _, idle = await call(fleet, "GET", "/-/ledger?server=0")
        assert (whole["requests"], whole["open_now"], whole["requests_per_connection"]) == (1, 1, {"1": 1})
        assert (idle["requests"], idle["opened"]) == (0, 0)


async def test_a_fault_is_armed_listed_and_removed() -> None:
    async with Fleet(3, answer=lambda index: hello) as fleet:
        rule = {"fault": "before_head", "times": 2, "for": "1h", "where": {"server": 2}}
        status, armed = await call(fleet, "POST", "/-/faults", rule)
        expected = {"number": 1, **rule, "for": 3600.0, "armed": 0, "fired": 0, "over": False}
        assert (status, armed) == (201, expected)
        async with Peer(fleet[2].port) as peer:
            await peer.send(post("/"))
            assert await peer.to_the_end() == b""
        struck = expected | {"armed": 1, "fired": 1}
        assert await call(fleet, "GET", "/-/faults") == (200, [struck])
        assert await call(fleet, "DELETE", "/-/faults/1") == (200, struck)
        assert await call(fleet, "GET", "/-/faults") == (200, [])


async def test_a_script_is_armed_listed_with_what_is_left_and_removed() -> None:
    async with Fleet(3, answer=lambda index: hello) as fleet:
        fleet[0].fault("eager")
        script = {"script": ["2x before_head", "ok"], "where": {"server": 2}}
        status, armed = await call(fleet, "POST", "/-/faults", script)
        expected = {
            "number": 2,
            **script,
            "armed": 0,
            "fired": 0,
            "over": False,
            "left": {"2": ["2x before_head", "ok"]},
        }
        assert (status, armed) == (201, expected)
        async with Peer(fleet[2].port) as peer:
            await peer.send(post("/"))
            assert await peer.to_the_end() == b""
        taken = expected | {"armed": 1, "fired": 1, "left": {"2": ["before_head", "ok"]}}
        _, listed = await call(fleet, "GET", "/-/faults")
        assert (listed[0]["fault"], listed[1]) == ("eager", taken)
        assert await call(fleet, "DELETE", "/-/faults/2") == (200, taken)
        async with Peer(fleet[2].port) as peer:
            await peer.send(post("/"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_all_faults_are_removed_at_once_and_one_that_is_over_says_so() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        fleet.fault("eager", times=1)
        fleet.fault("eager")
        await peer.send(get("/"))
        await peer.response()
        _, listed = await call(fleet, "GET", "/-/faults")
        assert [each["over"] for each in listed] == [True, False]
        assert await call(fleet, "DELETE", "/-/faults") == (200, {"removed": 2})
        assert fleet.faults.rules() == ()


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "complaint"),
    [
        ("GET", "/", None, 404, "expected /-/servers, /-/ledger or /-/faults"),
        ("GET", "/-/fault", None, 404, "expected /-/servers"),
        ("PUT", "/-/faults", {}, 405, "/-/faults: expected GET, POST, DELETE, got PUT"),
        ("GET", "/-/faults/1", None, 405, "/-/faults/1: expected DELETE, got GET"),
        ("DELETE", "/-/faults/1", None, 404, "faults: expected the number of a rule at work, got '1'"),
        ("DELETE", "/-/faults/one", None, 404, "faults: expected the number of a rule at work, got 'one'"),
        ("POST", "/-/faults", b"{", 400, "body: expected JSON"),
        ("POST", "/-/faults", b"\xff", 400, "body: expected JSON"),
        ("POST", "/-/faults", [], 400, "expected a fault's name, or a mapping with `fault`, got []"),
        ("POST", "/-/faults", {"fault": "sulk"}, 400, "unknown fault 'sulk'"),
        ("POST", "/-/faults", {"fault": "reset", "rate": 2}, 400, "rate: expected a number from 0 to 1, got 2"),
        ("POST", "/-/faults", {"fault": "reset", "where": {"server": 2}}, 400, "where: expected one of servers 0 to 1"),
        ("POST", "/-/faults", {"script": []}, 400, "script: expected at least one step"),
        ("GET", "/-/ledger?server=2", None, 400, "server: expected 0 to 1, got '2'"),
        ("GET", "/-/ledger?server=", None, 400, "server: expected 0 to 1, got ''"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_sentence(
    method: str, target: str, body: object, status: int, complaint: str
) -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet:
        found, answer = await call(fleet, method, target, body)
        assert (found, list(answer)) == (status, ["error"])
        assert answer["error"].startswith(complaint)
        assert fleet.faults.rules() == ()


async def test_the_guard_stands_before_everything() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        reply = await make_control(fleet, token="s3cret")(ApiRequest("POST", "/-/faults", "", HEADERS, b'"reset"'))
        assert isinstance(reply, Unary)
        assert reply.status == 401
        assert fleet.faults.rules() == ()
