from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fleetsim.control.running import RunningFleet, announced, running_fleets, state_folder, the_running_fleet
from fleetsim.errors import ControlError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files lie, empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "fleetsim"


def written(folder: Path, pid: int, url: str = "http://127.0.0.1:1") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{pid}.json"
    path.write_text(json.dumps({"pid": pid, "url": url, "size": 1, "token": None}))
    return path


def finished() -> int:
    """The id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_fleet_is_found_while_it_runs_and_not_after() -> None:
    with announced("http://127.0.0.1:8000", size=3, token="s3cret") as fleet:
        assert the_running_fleet() == fleet == RunningFleet(os.getpid(), "http://127.0.0.1:8000", 3, "s3cret")
    assert running_fleets() == []


def test_a_fleet_that_fails_is_not_found_any_more() -> None:
    with pytest.raises(ZeroDivisionError), announced("http://127.0.0.1:8000", size=3, token=None):
        raise ZeroDivisionError
    assert running_fleets() == []


def test_the_file_is_for_its_owner_alone_and_no_token_is_shown(folder: Path) -> None:
    with announced("http://127.0.0.1:8000", size=3, token="s3cret") as fleet:
        (path,) = folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert "s3cret" not in repr(fleet)


def test_what_a_killed_fleet_left_behind_is_removed(folder: Path) -> None:
    path = written(folder, finished())
    assert running_fleets() == []
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "1", "url": "u", "size": 1, "token": null}'])
def test_a_file_that_says_nothing_is_passed_over(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "1.json").write_text(text)
    assert running_fleets() == []


def test_without_a_fleet_it_is_said_how_to_start_one() -> None:
    with pytest.raises(ControlError, match="no running fleet can be driven: start one with `fleetsim up SIZE"):
        the_running_fleet()


def test_of_several_fleets_one_has_to_be_named(folder: Path) -> None:
    written(folder, os.getpid(), "http://127.0.0.1:1")
    written(folder, os.getppid(), "http://127.0.0.1:2")
    with pytest.raises(ControlError, match=r"2 fleets are running: name one with --control, of http://.*, http://"):
        the_running_fleet()


def test_a_folder_that_cannot_be_is_named(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(ControlError, match=r"\.json: cannot be written: "), announced("http://u:1", size=1, token=None):
        pass


def test_a_relative_state_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    assert state_folder() == Path.home() / ".local" / "state" / "fleetsim"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local" / "state" / "fleetsim"
