"""Which fleets run on this machine, and where each is driven: one small file per fleet.

They lie in `$XDG_STATE_HOME/fleetsim`, else in `~/.local/state/fleetsim`
(https://specifications.freedesktop.org/basedir-spec/latest/), readable by their owner alone, for they hold the token.
A file whose process is gone is left over from a kill, and is removed by whoever finds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetsim.errors import ControlError

__all__ = ["RunningFleet", "announced", "running_fleets", "state_folder", "the_running_fleet"]


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """A fleet that says where it is driven: at `url`, by process `pid`, with `token` if it needs one."""

    pid: int
    url: str
    size: int
    token: str | None = None

    def __repr__(self) -> str:
        return f"<RunningFleet of {self.size} at {self.url}, process {self.pid}>"


def state_folder() -> Path:
    """Return where the files lie, whether it exists or not."""
    # A relative path is to be ignored, says the specification.
    home = Path(os.environ.get("XDG_STATE_HOME") or "")
    return (home if home.is_absolute() else Path.home() / ".local" / "state") / "fleetsim"


@contextlib.contextmanager
def announced(url: str, *, size: int, token: str | None) -> Iterator[RunningFleet]:
    """Let this process's fleet be found while it runs. Raises ControlError when the file cannot be written."""
    fleet = RunningFleet(os.getpid(), url, size, token)
    path = state_folder() / f"{fleet.pid}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, json.dumps(asdict(fleet)))
    except OSError as error:
        raise ControlError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield fleet
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    # mkstemp's file is readable by its owner alone, and a reader sees all of it or none.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def running_fleets() -> list[RunningFleet]:
    """Return the fleets that run now, by process id. Files left over are removed."""
    found = (_read(path) for path in state_folder().glob("[0-9]*.json"))
    return sorted((fleet for fleet in found if fleet is not None), key=lambda fleet: fleet.pid)


def the_running_fleet() -> RunningFleet:
    """Return the one fleet that runs. Raises ControlError where there is none, or more than one."""
    fleets = running_fleets()
    if not fleets:
        raise ControlError("no running fleet can be driven: start one with `fleetsim up SIZE --control 0`")
    if len(fleets) > 1:
        urls = ", ".join(fleet.url for fleet in fleets)
        raise ControlError(f"{len(fleets)} fleets are running: name one with --control, of {urls}")
    return fleets[0]


def _read(path: Path) -> RunningFleet | None:
    try:
        fleet = _described(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    if fleet is None or _is_alive(fleet.pid):
        return fleet
    path.unlink(missing_ok=True)
    return None


def _described(written: object) -> RunningFleet | None:
    match written:
        case {"pid": int(pid), "url": str(url), "size": int(size), "token": (str() | None) as token}:
            return RunningFleet(pid, url, size, token)
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
