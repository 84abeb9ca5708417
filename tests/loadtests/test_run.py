from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleetsim import Fleet
from loadtests.fleet import running_fleet
from loadtests.options import Options
from loadtests.run import load, main, maker
from loadtests.thresholds import judge
from loadtests.timeline import Timeline
from swarmpool import VLLMPool

ROOT = Path(__file__).resolve().parents[2]


async def raising(pool: VLLMPool) -> None:
    await pool.post(99, "hello")


@pytest.mark.parametrize("care", [{}, {"retry": "3", "health": "4"}], ids=["plain", "care"])
@pytest.mark.parametrize("shape", ["steady", "dying"])
async def test_a_load_counts_what_the_fleet_counts(shape: str, care: dict[str, str], tmp_path: Path) -> None:
    options = Options.read({"shape": shape, "seed": "3", **care})
    async with Fleet(4) as running:
        with running_fleet(str(running.hostfile(tmp_path / "hosts.tsv")), None) as fleet:
            timeline = Timeline()
            figures = await load("unary", options, fleet, users=4, duration=0.5, timeline=timeline)
        await running.ledger.wait_for(open_now=0)
        after = {word: getattr(running.ledger, word) for word in ("opened", "closed", "reused", "open_now")}
    findings = judge(figures, options.limits, dict.fromkeys(after, 0), after)
    assert [finding for finding in findings if not finding.met and "client" in finding.name] == []
    assert figures.unsure == 0
    assert figures.responses >= 4
    assert figures.runs["unary"] == figures.responses
    assert timeline.points[-1].at >= 0.5
    assert len(timeline.windows) == (3 if shape == "dying" else 0)


async def test_a_load_is_told_to_try_again_and_to_leave_agents_alone(tmp_path: Path) -> None:
    options = Options.read({"retry": "2", "health": "3"})
    async with Fleet(1) as running:
        hostfile = str(running.hostfile(tmp_path / "hosts.tsv"))
        refused = running.fault("unavailable", where={"route": "/v1/chat/*"})
        with running_fleet(hostfile, None) as fleet, refused:
            timeline = Timeline()
            figures = await load("unary", options, fleet, users=2, duration=0.5, timeline=timeline)
    assert figures.care["retried"] >= 1
    assert (figures.care["ejected"], figures.care["ejected_now"]) == (1, 1)
    assert timeline.points[-1].ejected == 1
    assert figures.failures["unavailable"] >= 1


async def test_what_a_scenario_raises_ends_the_load(tmp_path: Path) -> None:
    async with Fleet(1) as running:
        hostfile = str(running.hostfile(tmp_path / "hosts.tsv"))
        with running_fleet(hostfile, None) as fleet, pytest.raises(ExceptionGroup) as raised:
            await load(f"{__name__}:raising", Options.read({}), fleet, users=2, duration=60.0)
    assert raised.group_contains(IndexError)


def test_a_scenario_of_ones_own_is_found_by_its_module() -> None:
    made = maker(f"{__name__}:raising")
    assert made(None, None).__name__ == "raising"  # type: ignore[arg-type]  # it needs neither


@pytest.mark.parametrize("name", ["binary", "no_such_module:run", "loadtests.run:nothing"])
def test_a_scenario_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^SCENARIO: expected one of unary, .* got '{name}'"):
        maker(name)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("binary", "SCENARIO: expected one of"),
        ("unary --fleet-size none", "--fleet-size: expected a whole number"),
        ("unary --users 0", "--users: expected a whole number of at least 1, got 0"),
        ("unary --hostfile /nowhere/hosts.tsv", "/nowhere/hosts.tsv cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert complaint in said


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "code"), [("0", 0), ("1", 1)])
def test_the_command_runs_a_fleet_of_its_own_and_its_limits_decide_the_exit_code(
    limit: str, code: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "loadtests.run", "scatter-gather", "--duration", "1s", "--fleet-size", "3"]
    command += ["--report", str(tmp_path / "run")]
    ran = subprocess.run(
        [*command, "--min-reuse", limit], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (code, "")
    assert ran.stdout.startswith("reuse ratio ")
    assert ("FAIL  reuse ratio" in ran.stdout) == bool(code)
    assert "ok    reused: client and fleet" in ran.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "run.html"}
