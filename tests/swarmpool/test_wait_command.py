"""`python -m swarmpool wait` against a fleet: what it waits for, writes and returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetsim import Fleet
from swarmpool import parse_hostfile
from swarmpool.cli import main


@pytest.fixture
def fleet_of_3() -> Iterator[Fleet]:
    with Fleet(3, seed=1, tags=lambda index: {"rack": "ab"[index % 2]}) as fleet:
        yield fleet


def test_the_ready_ones_are_written_with_their_tags(
    fleet_of_3: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostfile, output = str(fleet_of_3.hostfile(tmp_path / "in.tsv")), str(tmp_path / "ready.tsv")
    assert main(["wait", "--hostfile", hostfile, "--output", output]) == 0
    assert capsys.readouterr().out.startswith("3 of 3 agents ready after ")
    assert parse_hostfile(output) == parse_hostfile(hostfile)
    fleet_of_3.assert_all_closed(within="5s")


def test_a_hostfile_that_appears_later_is_waited_for(fleet_of_3: Fleet, tmp_path: Path) -> None:
    hostfile = tmp_path / "in.tsv"
    writer = threading.Timer(0.7, lambda: fleet_of_3.hostfile(hostfile))
    writer.start()
    try:
        assert main(["wait", "--hostfile", str(hostfile), "--timeout", "60"]) == 0
    finally:
        writer.join()


def test_a_hostfile_that_is_half_written_is_waited_for(fleet_of_3: Fleet, tmp_path: Path) -> None:
    """That it named fewer agents than wanted was an error, though the rest of it was on its way."""
    hostfile = tmp_path / "in.tsv"
    whole = fleet_of_3.hostfile(tmp_path / "whole.tsv").read_text()
    hostfile.write_text(whole[: whole.index("127.0.0.1", whole.index("127.0.0.1") + 1)])
    assert len(parse_hostfile(str(hostfile))) == 1
    writer = threading.Timer(0.7, lambda: hostfile.write_text(whole))
    writer.start()
    try:
        assert main(["wait", "--hostfile", str(hostfile), "--timeout", "60", "--minimum", "3"]) == 0
    finally:
        writer.join()


def test_enough_are_enough_and_the_missing_are_named(
    fleet_of_3: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostfile, output = str(fleet_of_3.hostfile(tmp_path / "in.tsv")), tmp_path / "ready.tsv"
    with fleet_of_3[1].fault("unavailable", where={"route": "/health"}):
        assert main(["wait", "--hostfile", hostfile, "--output", str(output), "--minimum", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("2 of 3 agents ready")
    assert said.err.startswith(f"missing: http://127.0.0.1:{fleet_of_3[1].port}: ")
    assert [endpoint.port for endpoint in parse_hostfile(output)] == [fleet_of_3[0].port, fleet_of_3[2].port]


def test_too_few_write_nothing(fleet_of_3: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostfile, output = str(fleet_of_3.hostfile(tmp_path / "in.tsv")), tmp_path / "ready.tsv"
    with fleet_of_3[1].fault("unavailable", where={"route": "/health"}):
        assert main(["wait", "--hostfile", hostfile, "--output", str(output), "--timeout", "0.6"]) == 1
    said = capsys.readouterr()
    assert said.err == f"missing: http://127.0.0.1:{fleet_of_3[1].port}: status 503\n"
    assert not output.exists()


def test_a_hostfile_that_never_appears_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wait", "--hostfile", str(tmp_path / "none.tsv"), "--timeout", "0.1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"python -m swarmpool wait: {tmp_path / 'none.tsv'} cannot be read")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--timeout", "0"], "--timeout must be a number of seconds above 0, not 0.0"),
        (["--minimum", "0"], "--minimum must be at least 1, not 0"),
        (["--minimum", "9", "--timeout", "0.1"], "names 3 agents, fewer than --minimum 9"),
        (["--interval", "-1"], "--interval must be a number of seconds above 0, not -1.0"),
        (["--output", "/there/is/none/ready.tsv"], "--output: there is no folder '/there/is/none'"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    fleet_of_3: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    hostfile = str(fleet_of_3.hostfile(tmp_path / "in.tsv"))
    assert main(["wait", "--hostfile", hostfile, *arguments]) == 2
    said = capsys.readouterr().err
    assert error in said
    assert said.count("\n") == 1
