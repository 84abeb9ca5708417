from __future__ import annotations

import json
from pathlib import Path

from answers import hello
from raw_http import Peer, get
from raw_websocket import masked, websocket

from fleetsim import Fleet
from fleetsim.testing.journal import account_of, journal_in_words, trace_path, write_trace


async def test_the_journal_in_words_shows_figures_connections_and_requests() -> None:
    async with Fleet(2, answer=lambda index: hello, seed=7) as fleet, Peer(fleet[1].port) as peer:
        await peer.send(get("/a"))
        await peer.response()
        with fleet.hold() as hold:
            await peer.send(get("/b"))
            await hold.wait_for(in_flight=1)
            lines = journal_in_words(account_of(fleet)).splitlines()
        await peer.response()
    assert lines[0].startswith("2 servers, seed 7: <Ledger of fleet: opened=1, ")
    assert lines[1].startswith("   0.0000  server 1: connection 1 from 127.0.0.1:")
    assert lines[1].endswith(", 2 requests, open, serving GET /b")
    assert "request 1 (its 1st): GET /a, status 200, complete after" in lines[2]
    assert lines[3].endswith("connection 1, request 2 (its 2nd): GET /b, in flight")


async def test_the_journal_tells_of_websockets(tmp_path: Path) -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(masked(1, b"hi"))
        await peer.until(b"hi")
        account = account_of(fleet)
    figures, connection, request, open_ = journal_in_words(account).splitlines()
    assert figures.endswith("websockets=1, websockets_open=1, peak_websockets=1, messages_in=1, messages_out=1>")
    assert connection.endswith("1 request, open, a websocket at /echo, 1 message in and 1 out")
    assert "GET /echo, status 101, complete after" in request
    assert open_.endswith("connection 1, websocket 1 at /echo, 1 message in and 1 out, open")
    write_trace(tmp_path / "trace.jsonl", "test", [account])
    last = json.loads((tmp_path / "trace.jsonl").read_text().splitlines()[-1])
    assert (last["kind"], last["path"], last["messages_in"]) == ("websocket", "/echo", 1)


async def test_a_long_journal_shows_its_end() -> None:
    async with Fleet(1, answer=lambda index: hello, journal_lines=50) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(60):
            await peer.send(get("/"))
            await peer.response()
        lines = journal_in_words(account_of(fleet)).splitlines()
    assert lines[1] == "(21 earlier lines not shown)"
    assert len(lines) == 42
    assert "request 60 (its 60th)" in lines[-1]


async def test_a_fleet_without_clients_has_a_journal_of_one_line() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        assert len(journal_in_words(account_of(fleet)).splitlines()) == 1


async def test_a_trace_has_a_line_for_each_fleet_connection_and_request(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trace.jsonl"
    async with Fleet(1, answer=lambda index: hello) as fleet, Fleet(2, answer=lambda index: hello) as other:
        async with Peer(fleet[0].port) as peer:
            await peer.send(get("/a"))
            await peer.response()
        await fleet.ledger.wait_for(open_now=0)
        write_trace(path, "test_x.py::test_it", [account_of(fleet), account_of(other)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["fleet"]) for line in lines] == [
        ("fleet", 0),
        ("connection", 0),
        ("request", 0),
        ("fleet", 1),
    ]
    assert (lines[0]["test"], lines[0]["requests"], lines[1]["ended_by"]) == ("test_x.py::test_it", 1, "client")
    assert (lines[2]["path"], lines[2]["outcome"], lines[3]["size"]) == ("/a", "complete", 2)


def test_no_two_tests_share_a_trace(tmp_path: Path) -> None:
    ids = ["tests/test_a.py::test_it[a/b]", "tests/test_a.py::test_it[a-b]", "tests/test_a.py::test_it[" + "x" * 300]
    paths = {trace_path(tmp_path, test) for test in ids}
    assert len(paths) == 3
    assert {path.parent for path in paths} == {tmp_path}
    assert max(len(path.name) for path in paths) < 100
