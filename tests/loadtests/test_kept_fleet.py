from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import kept_fleet

COMMAND = [sys.executable, "-P", kept_fleet.__file__, "up", "2"]
ROOT = Path(__file__).resolve().parents[2]


def test_a_fleet_ends_well_when_its_input_does() -> None:
    ran = subprocess.run(COMMAND, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) in [(0, ""), (-15, "")]  # the signal may come before the fleet listens for it


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_fleet_ends_with_the_load_that_was_killed(processes: int) -> None:
    """The fleet holds what stderr goes to, so that it has no end before the fleet is gone."""
    code = (
        "import os, signal\n"
        "from loadtests.fleet import child_fleet\n"
        f"with child_fleet(2, processes={processes}) as fleet:\n"
        "    print(fleet.control.url, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ran.returncode == -9
    assert ran.stdout.startswith(b"http://127.0.0.1:")
