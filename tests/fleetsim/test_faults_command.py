from __future__ import annotations

import json

import pytest

from fleetsim import fault_names
from fleetsim.cli import run


def test_the_catalogue_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults"]) == 0
    said = capsys.readouterr().out
    for name in fault_names():
        assert f"\n  {name}" in said


def test_named_faults_are_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "stale", "reset"]) == 0
    said = capsys.readouterr().out
    assert said.count("wire: ") == 2
    assert "stale (after)" in said
    assert "reset (body)" in said


def test_json_has_a_line_for_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["name"] for each in told] == list(fault_names())
    assert all(each["stage"] and each["wire"] and each["aiohttp"] and each["httpx"] for each in told)


def test_an_unknown_name_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "slow"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("fleetsim: unknown fault 'slow'; expected one of accept_fin, ")
    assert len(said.err.splitlines()) == 1
