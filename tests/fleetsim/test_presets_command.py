from __future__ import annotations

import json

import pytest

from fleetsim.cli import run
from fleetsim.presets import GUIDE, PRESETS


def test_the_presets_are_listed_with_their_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["presets"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["NAME", "MODEL", "GPU"]
    assert [line.split()[0] for line in lines[: len(PRESETS)]] == list(PRESETS)
    (shown,) = (line for line in lines if line.startswith("8b-h100 "))
    assert shown.split()[1:6] == ["7-8B", "1xH100", "73.5ms", "12.5ms", "0.16ms"]
    assert lines[-1] == f"Source: {GUIDE}"
    assert max(map(len, lines)) <= 80


def test_the_presets_are_there_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["presets", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == list(PRESETS)
    assert lines[0]["step_time"]["kind"] == "linear"
