"""What docs/engine.md shows can be done as it is shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fleetsim.cli import run

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "engine.md").read_text(encoding="utf-8")
(SHELL,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(SHOWN,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for line in SHELL.splitlines()]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_runs(command: list[str]) -> None:
    assert run(command) == 0


def test_what_it_shows_is_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change of the engine, paste what it says now."""
    assert run(COMMANDS[1]) == 0
    assert capsys.readouterr().out == SHOWN
