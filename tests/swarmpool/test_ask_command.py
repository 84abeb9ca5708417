"""`python -m swarmpool ask` against a fleet: what it asks, prints and returns."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetsim import Fleet
from swarmpool.ask_command import ProgressBar
from swarmpool.cli import main
from swarmpool.progress import Progress

Ask = Callable[..., int]


@pytest.fixture
def fleet_of_4() -> Iterator[Fleet]:
    with Fleet(4, seed=1, tags=lambda index: {"rack": "ab"[index % 2]}) as fleet:
        yield fleet


@pytest.fixture
def ask(fleet_of_4: Fleet, tmp_path: Path) -> Ask:
    """Runs the command in this process."""
    hostfile = str(fleet_of_4.hostfile(tmp_path / "fleet.tsv"))
    return lambda *arguments: main(["ask", "--hostfile", hostfile, "--max-tokens", "3", *arguments])


def test_one_prompt_is_answered(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("hello") == 0
    said = capsys.readouterr()
    answer, empty, summary = said.out.splitlines()[:3]
    assert answer
    assert (empty, summary.partition(" in ")[0]) == ("", "1 of 1 requests answered")
    assert said.err == ""


def test_many_go_round_the_agents_and_are_told_as_json(
    ask: Ask, fleet_of_4: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("hello", "-n", "20", "--per-agent", "1", "--json", "--model", "sim") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["succeeded"], told["failed"], told["opened"]) == (20, 20, 0, 4)
    assert [agent["requests"] for agent in told["agents"]] == [5, 5, 5, 5]
    assert [agent["url"] for agent in told["agents"]] == [f"http://127.0.0.1:{server.port}" for server in fleet_of_4]
    fleet_of_4.assert_all_closed(within="5s")


def test_agents_may_be_chosen_by_tag(ask: Ask, fleet_of_4: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("hello", "-n", "6", "--tag", "rack=b", "--json") == 0
    assert [agent["requests"] for agent in json.loads(capsys.readouterr().out)["agents"]] == [3, 3]
    assert fleet_of_4[0].ledger.requests == fleet_of_4[2].ledger.requests == 0


def test_requests_that_fail_are_told_and_make_the_exit_code_1(
    ask: Ask, fleet_of_4: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet_of_4[1].fault("unavailable"):
        assert ask("hello", "-n", "8") == 1
    out = capsys.readouterr().out
    assert "6 of 8 requests answered" in out
    assert "failures: 2 status (the first: status 503: " in out


def test_the_prompt_may_come_from_stdin(
    ask: Ask, fleet_of_4: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("hello world", "--tag", "rack=a", "--json")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello world"))
    ask("-", "--tag", "rack=a", "--json")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["answer"] == second["answer"]


def test_a_key_is_taken_from_the_environment_and_never_shown(
    ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2\n")
    assert ask("hello", "--api-key-from", "MY_KEY") == 2
    monkeypatch.delenv("MY_KEY")
    assert ask("hello", "--api-key-from", "MY_KEY") == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "python -m swarmpool ask: api_key must be printable ASCII text",
        "python -m swarmpool ask: --api-key-from: the environment variable MY_KEY must be set",
    ]
    assert "hunter2" not in said.out + said.err
    monkeypatch.setenv("MY_KEY", "hunter2")
    assert ask("hello", "--api-key-from", "MY_KEY") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-n", "0"), "-n must be at least 1, not 0"),
        (("--max-tokens", "-1"), "--max-tokens must be at least 0, not -1"),
        (("--timeout", "0"), "timeout must be a number of seconds above 0, not 0.0"),
        (("--per-agent", "0"), "concurrency_per_agent must be at least 1, not 0"),
        (("--tag", "rack"), "--tag must be KEY=VALUE, not 'rack'"),
        (("--tag", "rack=c"), "none of 4 agents has the tags rack=c"),
        (("--dialect", "json"), "fleet.tsv, line 1: not valid JSON: Extra data"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(
    ask: Ask, fleet_of_4: Fleet, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert ask("hello", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("python -m swarmpool ask: ")
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert fleet_of_4.ledger.requests == 0


def test_interrupted_it_ends_in_order(fleet_of_4: Fleet, tmp_path: Path) -> None:
    hostfile = str(fleet_of_4.hostfile(tmp_path / "fleet.tsv"))
    command = [sys.executable, "-m", "swarmpool", "ask", "--hostfile", hostfile, "hello", "-n", "8", "--model", "sim"]
    command += ["--max-tokens", "3"]
    pipe = subprocess.PIPE
    with fleet_of_4.hold() as gate, subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            gate.wait_for_sync(in_flight=8, timeout=30)
            process.send_signal(signal.SIGINT)
            out, complaints = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, complaints) == (130, "", "python -m swarmpool ask: interrupted\n")
    fleet_of_4.assert_all_closed(within="5s")


def test_the_bar_is_drawn_when_it_has_another_cell_or_failure() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, shown=True)
    for done in range(1, 301):
        bar(Progress("scatter", done, 300, int(done >= 299)))
    bar.end()
    drawn = out.getvalue().split("\r")[1:]
    assert len(drawn) == 1 + 30 + 1
    assert drawn[0] == "[" + "." * 30 + "] 1 of 300"
    assert drawn[-1] == "[" + "#" * 30 + "] 300 of 300, 1 failed\n"


def test_where_nobody_sees_it_there_is_no_bar() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, shown=False)
    bar(Progress("scatter", 1, 1, 0))
    bar.end()
    assert out.getvalue() == ""
