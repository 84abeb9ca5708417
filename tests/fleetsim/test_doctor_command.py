from __future__ import annotations

import json

import pytest

from fleetsim.cli import run
from fleetsim.doctor.checks import Finding, Verdict
from fleetsim.doctor.command import in_lines


def test_each_finding_is_a_line() -> None:
    well = Finding("cores", Verdict.OK, "4", "2")
    short = Finding("memory", Verdict.FAIL, "1 MB free", "about 2 MB", "get more")
    assert in_lines([well, short]) == (
        "ok    cores            4; needs 2\nFAIL  memory           1 MB free; needs about 2 MB: get more"
    )


def test_what_would_fail_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """No machine has as many ports as this."""
    assert run(["doctor", "70000", "--processes", "70", "--json"]) == 1
    findings = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert findings["ports to choose"]["verdict"] in ("fail", "note")
    assert findings["memory"]["needed"].startswith("about ")
    assert set(findings["cores"]) == {"check", "verdict", "found", "needed", "advice"}


def test_a_small_fleet_fits_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "1", "--connections", "0"]) == 0
    assert "\nok    aiohttp  " in capsys.readouterr().out


def test_more_processes_than_servers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "2", "--processes", "3"]) == 2
    assert capsys.readouterr().err == "fleetsim doctor: --processes: expected 1 to 2 for 2 servers, got 3\n"
