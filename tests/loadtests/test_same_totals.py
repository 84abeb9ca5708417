"""One process, several, or a master and its workers: for as many requests the fleet's ledger has the same totals."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from locust_runs import PATIENCE, needs_locust, started

from fleetsim import Fleet

pytestmark = [pytest.mark.slow, needs_locust]

USERS, EACH = 6, 20
FIXED = Path(__file__).parents[1] / "support" / "locust_fixed.py"
FEW = {"RUNS_OF_EACH_USER": str(EACH)}


def until(come_true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not come_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def prompts(fleet: Fleet) -> int:
    """By the ledger; what pools ask for themselves is left out."""
    return sum(record.path == "/v1/chat/completions" for record in fleet.ledger.request_records())


@pytest.mark.parametrize("way", ["one process", "--processes 2", "a master and two workers"])
def test_as_many_requests_are_the_same_totals(way: str, tmp_path: Path) -> None:
    processes = 1 if way == "one process" else 2
    with Fleet(3, control_port=0) as fleet, ExitStack() as stack:
        port = free_port()
        options = ["-u", str(USERS), "-t", "5m", "--min-reuse", "0", "--report", str(tmp_path / "run"), "FixedUser"]
        options += ["--hostfile", str(fleet.hostfile(tmp_path / "hosts.tsv")), "--control", fleet.control_url]
        if way == "--processes 2":
            options += ["--processes", "2", "--master-bind-port", port, "--master-port", port]
        elif processes == 2:
            options += ["--master", "--expect-workers", "2", "--master-bind-port", port]
        whole = stack.enter_context(started(*options, locustfile=FIXED, **FEW))
        if "workers" in way:
            for _ in range(2):
                stack.enter_context(started("--worker", "--master-port", port, "FixedUser", locustfile=FIXED, **FEW))
        until(lambda: prompts(fleet) >= USERS * EACH, whole)
        whole.send_signal(signal.SIGTERM)
        said, complaints = whole.communicate(timeout=PATIENCE)
        assert whole.returncode == 0, (said, complaints)
        assert prompts(fleet) == USERS * EACH
        assert fleet.ledger.open_now == 0
    agreed = [line for line in said.splitlines() if "client and fleet" in line]
    assert [line.partition("(")[2] for line in agreed] == ["wanted: equal)"] * 3
    written = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert written["runs"] == {"unary": USERS * EACH}
