from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from answers import always, hello

from fleetsim import Fleet, Unary
from fleetsim.control.caller import Caller
from fleetsim.errors import ControlError
from fleetsim.faults.rules import Rule


@contextmanager
def driven(token: str | None = None) -> Iterator[tuple[Fleet, Caller]]:
    with Fleet(2, answer=lambda index: hello, control_port=0, control_token=token) as fleet:
        yield fleet, Caller(fleet.control_url, token)


def test_faults_are_armed_listed_and_removed() -> None:
    with driven() as (fleet, caller):
        rule = Rule.parse({"fault": "reset;after=200", "times": 3, "where": {"server": 1}})
        armed = caller.arm(rule.written())
        assert armed["number"] == 1
        assert caller.faults() == [armed]
        assert [each.rule for each in fleet.faults.rules()] == [rule]
        assert caller.remove(1) == armed
        caller.arm(rule.written())
        assert caller.clear() == 1
        assert caller.faults() == []


def test_servers_and_ledger_are_told() -> None:
    with driven() as (fleet, caller):
        assert [server["url"] for server in caller.servers()] == list(fleet.urls)
        assert caller.ledger()["opened"] == fleet.ledger.opened == 0


def test_a_token_goes_with_every_call() -> None:
    with driven("s3cret") as (fleet, caller):
        assert caller.faults() == []
        with pytest.raises(ControlError, match="expected `Authorization: Bearer` with the fleet's token"):
            Caller(fleet.control_url).faults()


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with driven() as (_, caller):
        assert caller.faults() == []


def test_a_refusal_is_told_in_the_fleets_words() -> None:
    with driven() as (_, caller):
        with pytest.raises(ControlError, match=r"^where: expected one of servers 0 to 1, got server=2$"):
            caller.arm({"fault": "reset", "where": {"server": 2}})
        with pytest.raises(ControlError, match=r"^faults: expected the number of a rule at work, got '7'$"):
            caller.remove(7)


def test_where_nobody_answers_it_is_said() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(ControlError, match=f"^{url}: no fleet answers there: Connection refused$"):
            Caller(url).faults()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"hello", "expected a fleet's control port, got status 200, no JSON"),
        (b'{"read":0}', "expected a list of faults, got {'read': 0}"),
    ],
)
def test_what_is_no_control_port_is_told(body: bytes, complaint: str) -> None:
    fleet = Fleet(1, answer=lambda index: always(Unary(200, body)))
    with fleet, pytest.raises(ControlError, match=complaint) as told:
        Caller(fleet[0].url).faults()
    assert str(told.value) == f"{fleet[0].url}: {complaint}"


def test_an_end_without_an_answer_is_told() -> None:
    fleet = Fleet(1, answer=lambda index: hello, ending="before_head")
    with fleet, pytest.raises(ControlError, match="no fleet answers there: "):
        Caller(fleet[0].url).faults()


@pytest.mark.parametrize("url", ["", "http://", "localhost", "https://localhost:1", "http://localhost:x", "http://[:1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ControlError, match=r"^control: expected http://HOST:PORT, got "):
        Caller(url)


def test_a_url_may_do_without_its_scheme() -> None:
    with driven() as (fleet, _):
        assert Caller(fleet.control_url.removeprefix("http://")).faults() == []
