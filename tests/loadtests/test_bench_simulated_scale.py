from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.bench.simulated_scale import simulated_scale

FEW = ["--agents", "4", "--in-flight", "4", "--seconds", "20"]


def test_each_world_and_contestant_has_a_row_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "figures.json"
    assert simulated_scale([*FEW, "--latency", "0.1", "--loopback", "0.1", "--bare", "--json", str(written)]) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "4 agents, 4 in flight, answers after 0.1 s"
    figures = json.loads(written.read_text("utf-8"))
    names = ["pool, simulated", "bare, simulated", "pool, loopback", "bare, loopback"]
    assert list(figures) == names == [row[:20].strip() for row in rows]
    assert figures["pool, simulated"]["requests"] > 700


@pytest.mark.parametrize("option", ["--agents", "--in-flight", "--seconds", "--latency"])
def test_bad_input_names_the_option_and_is_exit_code_2(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        simulated_scale([option, "0"])
    assert ended.value.code == 2
    assert f"{option}: expected more than 0, got 0" in capsys.readouterr().err
