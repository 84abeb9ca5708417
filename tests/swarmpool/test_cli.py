"""`python -m swarmpool`: help, version, bad arguments and an output that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleetsim import Fleet
from swarmpool import __version__
from swarmpool.cli import main


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Send a prompt to the agents in turn"),
        (["ask", "--help"], 0, "--hostfile FILE"),
        (["--version"], 0, f"swarmpool {__version__}\n"),
        ([], 2, "the following arguments are required: COMMAND"),
        (["sing"], 2, "invalid choice: 'sing'"),
        (["ask", "hello"], 2, "the following arguments are required: --hostfile"),
    ],
    ids=["help", "help of ask", "version", "nothing", "no such command", "no hostfile"],
)
def test_help_and_bad_arguments(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == code
    out = capsys.readouterr()
    assert said in (out.err if code else out.out)


def test_a_hostfile_that_is_not_there_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "--hostfile", "no/such/file", "hello"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("python -m swarmpool ask: no/such/file cannot be read: ")
    assert len(said.err.splitlines()) == 1


def test_who_reads_the_output_may_leave(tmp_path: Path) -> None:
    with Fleet(1) as fleet:
        hostfile = str(fleet.hostfile(tmp_path / "fleet.tsv"))
        command = [sys.executable, "-m", "swarmpool", "ask", "--hostfile", hostfile, "hello", "--model", "sim"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            with fleet.hold() as gate:
                gate.wait_for_sync(in_flight=1, timeout=30)
                process.stdout.close()
            complaints = process.stderr.read()
    assert (process.returncode, complaints) == (1, b"")
