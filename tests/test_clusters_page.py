"""What docs/clusters.md says can be done as it says, as far as one machine goes."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import fake_launcher
import pytest

from fleetsim.cli import commands

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
RECIPES = {name: text for text in SHELL for name in ("PBS", "SBATCH") if f"#{name} " in text}
LINES = [line for text in SHELL if "podman" not in text for line in text.splitlines() if "fleetsim " in line]
COMMANDS = sorted({re.split(r" \|\| | &$", line.partition("fleetsim ")[2])[0] for line in LINES})

AGENTS = """
import sys, urllib.request
from swarmpool import parse_hostfile
urls = [endpoint.url for endpoint in parse_hostfile(sys.argv[1])]
print("asked", [urllib.request.urlopen(url + "/health", timeout=30).status for url in urls])
"""


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_has_the_options_it_is_given(line: str) -> None:
    line = line.replace("$SLURM_NTASKS", "128")
    name, *arguments = shlex.split(line)
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    command.make_context(name, arguments)


def test_each_python_example_is_python() -> None:
    for language, text in BLOCKS:
        if language == "python":
            compile(text, "clusters.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("name", ["PBS", "SBATCH"])
def test_each_recipe_runs_to_its_end_on_two_ranks(name: str, tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program(bin_folder / "fleetsim", "-m", "fleetsim")
    program(bin_folder / "python")
    for launcher in fake_launcher.RANKS:
        program(bin_folder / launcher, str(fake_launcher.__file__), launcher)
    (tmp_path / "my_agents.py").write_text(AGENTS)
    recipe = RECIPES[name].replace("128", "2").replace("--size 64", "--size 3")
    recipe = recipe.replace("fleetsim serve", "fleetsim serve --host 127.0.0.1 --advertise 127.0.0.1")
    environment = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "PYTHONPATH": ":".join(sys.path),
        "HOME": str(tmp_path),
        "PBS_JOBID" if name == "PBS" else "SLURM_JOB_ID": "4711",
        "PBS_O_WORKDIR": str(tmp_path),
        "SLURM_SUBMIT_DIR": str(tmp_path),
    }
    if name == "SBATCH":
        environment |= {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    code, said = to_the_end(recipe, tmp_path, environment)
    assert "asked [200, 200, 200, 200, 200, 200]" in said, said
    assert said.count(": stopped after 3 requests on 3 connections") == 2
    assert (code, list((tmp_path / "fleet.4711").iterdir())) == (0, [])


def to_the_end(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a script, and whatever it starts, for a minute and a half at most; return its exit code and all it said."""
    with subprocess.Popen(
        ["/bin/bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=90)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def program(path: Path, *arguments: str) -> None:
    """Write a program that runs this Python with `arguments` before its own."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *arguments])} "$@"\n')
    path.chmod(0o755)
