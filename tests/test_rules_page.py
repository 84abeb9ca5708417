"""What docs/rules.md says can be done as it says, and its ways of saying a rule mean the same."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_http import Peer, get

from fleetsim import Fleet, Profile
from fleetsim.cli import run
from fleetsim.control.running import announced
from swarmpool import VLLMPool

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TESTS = [text for language, text in BLOCK.findall(PAGE) if text.startswith("async def ")]
SAID: dict[str, dict[str, Any]] = {
    "The same rule, five ways": {
        "fault": "reset;after=200",
        "rate": 0.1,
        "for": 10.0,
        "where": {"server": 3},
    },
    "Scripts": {"script": ["3x unavailable", "reset;after=200", "ok"], "where": {"server": 3}},
}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A fleet that `fleetsim fault` finds."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    fleet = Fleet(4, control_port=0)
    with fleet, announced(fleet.control_url, size=4, token=None):
        yield fleet


def said(section: str, language: str) -> str:
    blocks: list[tuple[str, str]] = BLOCK.findall(SECTIONS[section])
    found = [text for name, text in blocks if (name, text.startswith("async")) == (language, False)]
    assert len(found) == 1
    return found[0]


def at_work(fleet: Fleet) -> dict[str, Any]:
    (written,) = [each.rule.written() for each in fleet.faults.rules()] + [
        each.rule.written() for each in fleet.faults.scripts()
    ]
    return written


@pytest.mark.parametrize("section", SAID)
def test_python_says_it(section: str, running: Fleet) -> None:
    exec(said(section, "python"), {"fleet": running})
    # `fleet[3].script` is for server 3 without a word.
    assert at_work(running) | {"where": {"server": 3}} == SAID[section]


@pytest.mark.parametrize("section", SAID)
def test_a_profile_says_it(section: str, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(said(section, "yaml"))
    (rule,) = Profile.load(tmp_path / "profile.yaml").faults
    assert rule.written() == SAID[section]


@pytest.mark.parametrize("section", SAID)
def test_the_command_line_says_it(section: str, running: Fleet) -> None:
    assert run(shlex.split(said(section, "sh"))[1:]) == 0
    assert at_work(running) == SAID[section]


@pytest.mark.parametrize("section", SAID)
def test_a_call_to_the_control_port_says_it(section: str, running: Fleet) -> None:
    body = said(section, "json").encode()
    request = urllib.request.Request(f"{running.control_url}/-/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert {key: value for key, value in json.load(response).items() if key in SAID[section]} == SAID[section]


async def test_a_header_says_it_for_one_request() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/v1/models", said("The same rule, five ways", "http").strip()))
        assert len((await peer.to_the_reset()).partition(b"\r\n\r\n")[2]) == 200
        assert fleet.ledger.request_records()[0].faults == ("delay", "reset")


@pytest.mark.parametrize("example", TESTS, ids=lambda text: text.partition("(")[0].removeprefix("async def "))
async def test_each_example_runs(example: str, running: Fleet) -> None:
    names: dict[str, Any] = {}
    exec(compile(example, "docs/rules.md", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    assert inspect.iscoroutinefunction(test)
    async with VLLMPool(running.endpoints, model="sim", max_tokens=8, model_max_context=4096) as pool:
        await test(running, pool)


def test_every_word_of_a_rule_is_told() -> None:
    table = re.findall(r"^\| `([\w: ]+)`", SECTIONS["The words"], re.MULTILINE)
    of_where = ("server", "tag", "route", "header", "request", "connection")
    assert sorted(table) == sorted(["rate", "seed", "times", "after", "for", *(f"where: {word}" for word in of_where)])


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path(__file__).resolve().parents[1] / "docs" / target).exists(), target
