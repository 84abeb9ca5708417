from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench.scale_command import scale, soak

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_scale_prints_points_cost_limit_and_verdict(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.bench", "scale", "--agents", "4", "--in-flight", "4"]
    command += ["--requests", "200", "--json", str(tmp_path / "scale.json")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    for said in ("answered", "CPU per request", "limited by ", "ok    opened: client and fleet: 4 and 4"):
        assert said in ran.stdout
    written = json.loads((tmp_path / "scale.json").read_text("utf-8"))
    assert (written["requests"], written["connections"]["opened"]) == (200, 4)


def test_a_table_has_a_row_for_one_process_and_one_for_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--agents", "4", "--in-flight", "4", "--requests", "100", "--rounds", "1"]
    assert scale([*few, "--table", "--json", str(tmp_path / "table.json")]) == 0
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.partition(":")[0] for row in rows] == ["1 of the fleet", "2 of the fleet"]
    written = json.loads((tmp_path / "table.json").read_text("utf-8"))
    assert [len(run["shares"]["servers"]) for run in written] == [1, 3]


@pytest.mark.slow
def test_a_soak_whose_memory_may_not_grow_at_all_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--minutes", "2", "--agents", "2", "--in-flight", "2", "--stretch", "0.1", "--ttft", "0"]
    assert soak([*few, "--growth=-1e12"]) == 1
    assert "FAIL  memory: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option"), [(scale, "--agents"), (scale, "--requests"), (soak, "--minutes"), (soak, "--in-flight")]
)
def test_bad_input_is_one_line_and_exit_code_2(
    command: object, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    assert command([option, "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option}: expected " in line
