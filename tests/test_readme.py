"""What the README says can be done as it says."""

from __future__ import annotations

import asyncio
import inspect
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fleetsim import Fleet
from fleetsim.faults.catalogue import fault_types
from fleetsim.proofs.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
PROVE, TEST, LOAD = (line for line in SHELL if line.startswith("python3 -m venv"))
FLEETSIM = [shlex.split(line)[1:] for line in SHELL if line.startswith("fleetsim ")]


@pytest.mark.parametrize("example", PYTHON)
async def test_each_python_example_runs(
    example: str, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fleet.hostfile("fleet.tsv")
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), names)
    tests = [value for name, value in names.items() if name == "main" or name.startswith("test_")]
    assert tests
    for test in tests:
        assert inspect.iscoroutinefunction(test)
        await test(**{"fleet": fleet} if "fleet" in inspect.signature(test).parameters else {})


async def test_the_fleet_of_the_example_comes_up_and_goes_down(tmp_path: Path) -> None:
    (arguments,) = FLEETSIM
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetsim", *arguments), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    seen = b""
    while b"curl" not in seen:
        chunk = await process.stdout.read(4096)
        assert chunk, (seen, await process.communicate())
        seen += chunk
    process.terminate()
    rest, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert b"export OPENAI_BASE_URL=http://127.0.0.1:" in seen + rest
    assert len((tmp_path / "fleet.tsv").read_text().splitlines()) >= 8


def test_the_proof_is_one_command_in_a_fresh_clone() -> None:
    assert PROVE == "python3 -m venv .venv && .venv/bin/pip install -q '.[fleet]' && .venv/bin/fleetsim prove"


def test_the_load_test_is_one_command_in_a_fresh_clone() -> None:
    """tests/loadtests/test_locustfile.py runs its last part."""
    install = "python3 -m venv .venv && .venv/bin/pip install -q '.[fleet,loadtest]' && .venv/bin/locust "
    assert LOAD.startswith(install)
    locustfile = shlex.split(LOAD.removeprefix(install))[1]
    assert (ROOT / locustfile).is_file()


def test_the_checks_of_the_repository_are_the_test_command_of_the_readme() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if "tox" in line] == [TEST]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_doors_are_at_most_ten_lines_each() -> None:
    for door in ("Test", "Load", "Develop without GPUs"):
        (section,) = re.findall(rf"^## {door}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
        lines = [line for line in section.splitlines() if line and not line.startswith("```")]
        assert len(lines) <= 10, door


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "design.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_picture_shows_every_claim_of_the_proof() -> None:
    """It is drawn from a real run by docs/picture.py; draw it again when a claim is added or renamed."""
    picture = ET.parse(ROOT / "docs" / "prove.svg").getroot()
    text = "".join(picture.itertext()).replace("\xa0", " ")
    assert [claim.name for claim in CLAIMS if claim.name not in text] == []
    assert f"{len(CLAIMS)} of {len(CLAIMS)} claims hold" in text


def test_it_names_as_many_faults_as_there_are() -> None:
    assert f"{len(fault_types())} faults by name" in README
