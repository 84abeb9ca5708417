"""locust itself, with few users for a short time, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from locust_runs import PATIENCE, locust, needs_locust, started

from fleetsim import Fleet

pytestmark = [pytest.mark.slow, needs_locust]

BUSY = Path(__file__).parents[1] / "support" / "locust_busy.py"
FEW = ("-u", "8", "-t", "3s", "--fleet-size", "4")


def failures(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in ran.stdout.splitlines() if line.startswith("FAIL")]


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_all_users_run_and_both_ends_have_counted_the_same(processes: tuple[str, ...]) -> None:
    ran = locust(*FEW, "--min-reuse", "0", *processes)
    assert (ran.returncode, failures(ran)) == (0, []), ran.stderr
    for scenario in ("unary", "stream", "batch", "scatter-gather", "websocket"):
        assert f"POOL     {scenario}" in ran.stderr
    agreed = [line for line in ran.stdout.splitlines() if "client and fleet" in line]
    assert [line.partition("(")[2] for line in agreed] == ["wanted: equal)"] * 6
    assert ("workers that reported: 2" in ran.stdout) == bool(processes)


def test_it_runs_from_outside_of_the_clone(tmp_path: Path) -> None:
    """locust puts the folder of its locustfile on the path, and that is not the one with `loadtests` in it."""
    ran = locust("-u", "2", "-t", "2s", "--fleet-size", "2", "--min-reuse", "0", cwd=tmp_path, PYTHONPATH="")
    assert (ran.returncode, failures(ran)) == (0, []), ran.stderr


def test_the_command_of_the_readme_runs() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    command = readme.partition(".venv/bin/locust -f loadtests/locustfile.py --headless ")[2].splitlines()[0]
    assert command == "-u 50 -t 30s"
    # In a time as short as this a slow machine opens connections for the most part.
    ran = locust(*command.split(), "-t", "4s", "--min-reuse", "0")
    assert (ran.returncode, failures(ran)) == (0, []), ran.stderr


def test_a_fleet_that_is_slow_to_start_is_waited_for_whatever_the_shape_wants_meanwhile(tmp_path: Path) -> None:
    """locust kills a start under way when the shape changes: a ramp ended with no user at all, and exit code 0."""
    slow = tmp_path / "sitecustomize.py"
    slow.write_text("import sys, time\n'up' in sys.orig_argv and time.sleep(2.5)\n")
    ran = locust("-u", "10", "-t", "5s", "--shape", "ramp", "--min-reuse", "0", PYTHONPATH=str(tmp_path))
    assert (ran.returncode, failures(ran)) == (0, []), ran.stderr
    assert "ok    opened: client and fleet" in ran.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_upon_the_loop_ends_the_run_with_its_verdict(
    number: signal.Signals, tmp_path: Path
) -> None:
    """KeyboardInterrupt was raised in the loop, which ended, and nobody could close the pool any more: a hang."""
    with Fleet(1, control_port=0) as fleet:
        options = ("--hostfile", str(fleet.hostfile(tmp_path / "hosts.tsv")), "--control", fleet.control_url)
        with started("-u", "2", "-t", "5m", "--min-reuse", "0", *options, "BusyUser", locustfile=BUSY) as running:
            fleet.ledger.wait_for_sync(requests=3, timeout=60)
            running.send_signal(number)
            said, complaints = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, complaints
    assert "ok    opened: client and fleet" in said


def test_a_limit_that_is_missed_is_exit_code_1() -> None:
    ran = locust(*FEW, "--min-requests-per-connection", "1000000", "UnaryUser")
    assert ran.returncode == 1
    (said,) = failures(ran)
    assert "requests per opened connection" in said


def test_agents_die_and_come_back_and_the_counts_still_agree(tmp_path: Path) -> None:
    users = ("UnaryUser", "StreamUser", "WebSocketUser")
    ran = locust(*FEW, "--shape", "dying", "--min-reuse", "0", "--report", str(tmp_path / "run"), *users)
    assert (ran.returncode, failures(ran)) == (0, []), ran.stderr
    assert ran.stderr.count("1 of 4 agents dead for") == 3
    assert "failed: connect" in ran.stdout
    written = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert written["kept"]
    assert len(written["timeline"]["windows"]) == 3
    assert sum(point["failed"] for point in written["timeline"]["points"]) > 0
    assert (tmp_path / "run.html").read_text("utf-8").count('<rect class="window"') == 15


def test_users_that_do_not_finish_in_time_are_cancelled_and_leave_no_connection(tmp_path: Path) -> None:
    profile = tmp_path / "slow.yaml"
    profile.write_text("ttft: 1h\n")
    ran = locust(*FEW, "--fleet-profile", str(profile), "--stop-timeout", "1", "UnaryUser")
    assert (ran.returncode, [line.split(":")[0] for line in failures(ran)]) == (
        1,
        ["FAIL  responses", "FAIL  reuse ratio"],
    )
    assert "ok    sockets at the end: 0" in ran.stdout
    assert "ok    fleet's connections at the end: 0" in ran.stdout
    assert "equal, but for 8 unsure" in ran.stdout


def test_a_locust_without_a_run_does_not_end_as_if_all_were_well() -> None:
    ran = locust("--master", "--master-bind-port", "0", "--expect-workers", "1", "--expect-workers-max-wait", "1")
    assert ran.returncode != 0
    assert "ok  " not in ran.stdout


def test_a_run_that_cannot_begin_is_exit_code_2_and_one_line() -> None:
    ran = locust(*FEW, "--hostfile", "/nowhere/hosts.tsv")
    assert ran.returncode == 2
    assert "/nowhere/hosts.tsv cannot be read" in ran.stderr
    assert "Traceback" not in ran.stderr
