from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleetsim.lab import command
from fleetsim.lab.command import lab
from fleetsim.lab.room import Room, Visit
from fleetsim.lab.rooms import ROOMS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lab, arguments)


async def as_claimed(notes: Visit) -> None:
    notes.conclusion = "as claimed"


async def otherwise(notes: Visit) -> None:
    notes.expect("figure", 1, 2)


GOOD, BAD = Room("good", "A claim.", as_claimed), Room("bad", "Another.", otherwise)


def test_the_default_run_ends_in_the_published_line() -> None:
    result = run("connector")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "available: 4, 4, 4, 3, 2   acquired keys: 1, 1, 1, 1, 1"


def test_an_eager_eof_is_a_flag_away() -> None:
    result = run("connector", "--eof", "eager")
    assert result.output.splitlines()[-1] == "available: 5, 5, 4, 3, 2   acquired keys: 0, 0, 1, 1, 1"


def test_every_variant_has_its_flag() -> None:
    result = run("connector", "--eof", "1m", "--latency", "0", "--gzip", "--chunked", "--body", "9")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "available: 4, 3, 4, 3, 2   acquired keys: 1, 1, 2, 2, 2"


def test_the_list_names_every_room_and_runs_none() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [room.name for room in ROOMS]


def test_a_room_that_comes_out_otherwise_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROOMS", (GOOD, BAD))
    assert run("good").exit_code == 0
    result = run("all")
    assert result.exit_code == 1
    assert "otherwise      figure: claimed 2, found 1" in result.output
    assert "1 of 2 rooms came out as claimed" in result.output


def test_json_goes_to_a_file_beside_the_text_or_to_the_output_instead_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROOMS", (GOOD, BAD))
    report = tmp_path / "lab.json"
    assert "as claimed" in run("good", "--json", str(report)).output
    assert [room["name"] for room in json.loads(report.read_text())["rooms"]] == ["good"]
    assert [room["agrees"] for room in json.loads(run("all", "--json").output)["rooms"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "which room? expected all or one of connector"),
        ("conector", "no room 'conector': expected all or one of connector"),
        ("connector --latency 9", "expected a duration such as 80ms"),
        ("connector --json /no/such/folder", "No such file or directory"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(arguments: str, complaint: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert complaint in result.output
    assert "available" not in result.output


def test_flags_of_the_connector_are_refused_for_rooms_that_do_not_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROOMS", (GOOD, BAD))
    result = run("good", "--gzip")
    assert result.exit_code == 2
    assert "vary the room connector alone" in result.output
