from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import peer_results as made
import pytest
from processes import is_running

from loadtests.bench.peers.command import page_command

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_and_the_picture_are_written_beside_the_figures(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(made.results(made.cell("swarmpool", "fleetsim")).written()))
    page_command([str(file)])
    assert "](mine.svg)" in (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert (tmp_path / "mine.svg").read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file"), ("not JSON", "Expecting value"), ("{}", "schema: expected 1, got None")],
)
def test_figures_that_cannot_be_read_are_one_sentence(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit, match=said):
        page_command([str(file)])


@pytest.mark.parametrize("name", ["peers", "page"])
def test_each_command_has_a_help_of_its_own(name: str) -> None:
    command = [sys.executable, "-m", "loadtests.bench", name, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert f"usage: python -m loadtests.bench {name}" in done.stdout


@pytest.mark.slow
def test_a_run_that_is_interrupted_leaves_no_process_behind() -> None:
    command = [sys.executable, "-m", "loadtests.bench", "peers", "--quick"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert any("round 1 of" in line for line in run.stdout)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=90)
    assert (run.returncode, said) == (130, "")
    assert len(children) >= 4
    assert not any(map(is_running, map(int, children)))


def test_an_interpreter_that_is_none_is_one_sentence() -> None:
    command = [sys.executable, "-m", "loadtests.bench", "peers", "--guidellm", "/nowhere/python"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("python -m loadtests.bench peers: ")
    assert done.stderr.count("\n") == 1
