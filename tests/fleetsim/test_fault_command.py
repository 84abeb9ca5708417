from __future__ import annotations

import http.client
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import hello

from fleetsim import Fleet
from fleetsim.cli import run
from fleetsim.control.running import announced


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FLEETSIM_CONTROL_TOKEN", raising=False)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """A fleet that `fleetsim fault` finds by itself."""
    fleet = Fleet(4, answer=lambda index: hello, control_port=0)
    with fleet, announced(fleet.control_url, size=4, token=None):
        yield fleet


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["fault", *shlex.split(arguments)]) == 0
    return capsys.readouterr().out.strip()


def test_a_fault_strikes_the_fleet_that_runs(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("before_head --server 3 --times 1 --for 90s", capsys) == (
        "armed 1: before_head  times=1  for=90s  server=3  armed=0  fired=0"
    )
    with urllib.request.urlopen(fleet[0].url, timeout=10) as spared:
        assert spared.status == 200
    with pytest.raises(http.client.RemoteDisconnected):
        urllib.request.urlopen(fleet[3].url, timeout=10)
    assert said("--list", capsys) == "1: before_head  times=1  for=90s  server=3  armed=1  fired=1  over"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("reset", {"fault": "reset"}),
        ("reset --after-bytes 200", {"fault": "reset;after=200"}),
        ("reset --after-bytes=200 --after 3", {"fault": "reset;after=200", "after": 3}),
        (
            "reset --server 3 --after-chunks 2 --for 10s",
            {"fault": "reset;after_chunks=2", "for": 10.0, "where": {"server": 3}},
        ),
        ("'reset;after=200' --server 3", {"fault": "reset;after=200", "where": {"server": 3}}),
        ("delayed --rate 0.5 --seconds 80ms", {"fault": "delayed;seconds=80ms", "rate": 0.5}),
        ("--server 1 --for 10s reset --server 2", {"fault": "reset", "for": 10.0, "where": {"server": [1, 2]}}),
        (
            "reset --route '/v1/*' --header x-a=b --request 2 --connection 3 --seed 0",
            {
                "fault": "reset",
                "where": {"route": "/v1/*", "header": "x-a=b", "request": 2, "connection": 3},
                "seed": 0,
            },
        ),
    ],
)
def test_what_is_said_on_the_command_line_is_the_rule(
    arguments: str, rule: dict[str, object], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    said(arguments, capsys)
    assert [armed.rule.written() for armed in fleet.faults.rules()] == [rule]


def test_a_script_is_played_and_what_is_left_of_it_is_listed(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    script = "--script '2x before_head, truncated;after=5, ok' --server 3 --route '/v1/*'"
    steps = "2x before_head, truncated;after=5, ok"
    said_of_it = f"1: script {steps}  server=3  route=/v1/*  "
    assert said(script, capsys) == f"armed {said_of_it}armed=0  fired=0  left to 3: {steps}"
    with urllib.request.urlopen(fleet[3].url, timeout=10) as not_meant:
        assert not_meant.status == 200
    for _ in range(2):
        with pytest.raises(http.client.RemoteDisconnected):
            urllib.request.urlopen(f"{fleet[3].url}/v1/models", timeout=10)
    assert said("--list", capsys) == f"{said_of_it}armed=2  fired=2  left to 3: truncated;after=5, ok"
    with pytest.raises(http.client.IncompleteRead):
        urllib.request.urlopen(f"{fleet[3].url}/v1/models", timeout=10).read()
    with urllib.request.urlopen(f"{fleet[3].url}/v1/models", timeout=10) as well:
        assert well.status == 200
    assert said("--list", capsys) == f"{said_of_it}armed=4  fired=3  over"
    assert said("--remove 1", capsys) == f"removed {said_of_it}armed=4  fired=3  over"


def test_without_a_server_each_plays_the_script(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    said("--script reset", capsys)
    (script,) = fleet.faults.scripts()
    assert script.left == {index: ["reset"] for index in range(4)}
    assert said("--remove all", capsys) == "removed 1"


def test_one_fault_is_removed_or_all(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("--list", capsys) == "no faults at work"
    for _ in range(3):
        said("reset", capsys)
    assert said("--remove 2", capsys) == "removed 2: reset  armed=0  fired=0"
    assert [armed.number for armed in fleet.faults.rules()] == [1, 3]
    assert said("--remove all", capsys) == "removed 2"
    assert fleet.faults.rules() == ()


def test_a_fleet_is_named_by_its_url_and_its_token_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet(1, answer=lambda index: hello, control_port=0, control_token="s3cret") as fleet:
        said(f"reset --control {fleet.control_url} --token s3cret", capsys)
        monkeypatch.setenv("FLEETSIM_CONTROL_TOKEN", "s3cret")
        said(f"reset --control {fleet.control_url}", capsys)
        assert len(fleet.faults.rules()) == 2


def test_the_token_of_the_fleet_that_runs_is_found_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Fleet(1, answer=lambda index: hello, control_port=0, control_token="s3cret") as fleet:
        with announced(fleet.control_url, size=1, token="s3cret"):
            said("reset", capsys)
        assert len(fleet.faults.rules()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "fleetsim fault: expected the name of a fault, such as reset"),
        ("--after-bytes 200", "fleetsim fault: expected the name of a fault, such as reset"),
        ("sulk", "fleetsim: unknown fault 'sulk'; expected one of "),
        ("reset --often 3", "fleetsim: fault 'reset' has no parameter 'often'; expected after"),
        ("reset --after-bytes", "fleetsim: --after-bytes: expected a value, got none"),
        ("reset often", "fleetsim: often: expected --PARAMETER VALUE"),
        ("reset --after-bytes some", "fleetsim: fault 'reset': after: expected a whole number of bytes, got 'some'"),
        ("reset --rate 2", "fleetsim: rate: expected a number from 0 to 1, got 2.0"),
        ("reset --for 10", "fleetsim: for: expected a duration such as 80ms"),
        ("reset --times many", "fleetsim fault: Invalid value for '--times'"),
        ("reset --server 4", "fleetsim: where: expected one of servers 0 to 3, got server=4"),
        ("reset --script ok", "fleetsim: reset: expected no fault beside --script, whose steps they are"),
        ("--script sulk", "fleetsim: unknown fault 'sulk'"),
        ("--script ,", "fleetsim: script: expected at least one step"),
        ("--script reset --rate 0.5", "fleetsim: rate: expected none beside script, got 0.5"),
        ("--script reset --request 2", "fleetsim: where: request: expected none for a script"),
        ("--script reset --server 4", "fleetsim: where: expected one of servers 0 to 3, got server=4"),
        ("--remove some", "fleetsim: --remove: expected the number of a fault, or all, got 'some'"),
        ("--remove 9", "fleetsim: faults: expected the number of a rule at work, got '9'"),
        ("reset --control localhost", "fleetsim: control: expected http://HOST:PORT, got 'localhost'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str, complaint: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fault", *shlex.split(arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(complaint)
    assert len(told.err.splitlines()) == 1
    assert (fleet.faults.rules(), fleet.faults.scripts()) == ((), ())


def test_without_a_fleet_it_is_said_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fault", "reset"]) == 2
    assert capsys.readouterr().err == (
        "fleetsim: no running fleet can be driven: start one with `fleetsim up SIZE --control 0`\n"
    )
