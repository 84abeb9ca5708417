"""The fleet under load: one of our own in a child process, or one that runs already."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetsim.control.caller import Caller
from loadtests.options import Options
from loadtests.shapes import Strike
from swarmpool import AgentEndpoint, parse_hostfile

__all__ = ["FleetFailed", "FleetUnderLoad", "child_fleet", "fleet_for", "running_fleet"]

_STOP_SECONDS = 10.0
_QUIET_SECONDS = 5.0
_KEPT = Path(__file__).with_name("kept_fleet.py")


class FleetFailed(RuntimeError):
    """A fleet did not start; what it said is on stderr."""


@dataclass(frozen=True, slots=True)
class FleetUnderLoad:
    """Where a fleet is: `hosts` is the text of its hostfile; `control` drives it, None if it cannot be driven."""

    hosts: str
    control: Caller | None

    def arm(self, strike: Strike) -> None:
        """Arm the rules of `strike`, at once; nothing happens to a fleet that cannot be driven. Raises ControlError."""
        if self.control is not None:
            for rule in strike.rules:
                self.control.arm(rule)

    def ledger(self) -> dict[str, Any] | None:
        """The fleet's ledger; None if it cannot be asked. Raises ControlError."""
        return None if self.control is None else self.control.ledger()

    def quiet_ledger(self, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The ledger once no more connections are open than `before`; as it is after 5 s. Raises ControlError.

        The fleet learns of a close a moment after the client has closed.
        """
        deadline = time.monotonic() + _QUIET_SECONDS
        while (found := self.ledger()) is not None and before is not None:
            if found["open_now"] <= before["open_now"] or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return found

    @property
    def endpoints(self) -> list[AgentEndpoint]:
        """Its servers. Raises HostfileError."""
        return parse_hostfile(io.StringIO(self.hosts))


def fleet_for(options: Options) -> contextlib.AbstractContextManager[FleetUnderLoad]:
    """The fleet that `options` name, or one of our own as they describe it."""
    if options.hostfile is not None:
        return running_fleet(options.hostfile, options.control)
    return child_fleet(
        options.fleet_size, profile=options.fleet_profile, seed=options.seed, processes=options.fleet_processes
    )


@contextlib.contextmanager
def child_fleet(
    size: int, *, profile: str | None = None, seed: int = 0, processes: int = 1
) -> Iterator[FleetUnderLoad]:
    """Run `fleetsim up SIZE`, over `processes`, while the context lasts. Raises FleetFailed when it does not start.

    Blocks until it is ready, and again until it has ended. Nothing of it is left: it is killed where it does not obey,
    and ends by itself where this process is killed.
    """
    with tempfile.TemporaryDirectory(prefix="loadtests-") as folder:
        hostfile = Path(folder, "hosts.tsv")
        command = [sys.executable, "-P", str(_KEPT), "up", str(size), "--control", "0", "--hostfile", str(hostfile)]
        command += ["--seed", str(seed), *(["--profile", profile] if profile else [])]
        command += ["--processes", str(processes)] if processes > 1 else []
        # In a session of its own: Ctrl-C is ours to hear first, for the ledger is asked before the fleet ends.
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as child:
            try:
                control = _control_url(child)
                yield FleetUnderLoad(hostfile.read_text("utf-8"), Caller(control))
            finally:
                _end(child)


def _control_url(child: subprocess.Popen[str]) -> str:
    """Read what a fleet prints until it is ready, and return where it is driven."""
    assert child.stdout is not None
    url = ""
    for line in child.stdout:
        if line.startswith("control "):
            url = line.split()[1]
        elif line.startswith("Ctrl-C"):
            return url
    raise FleetFailed("fleetsim up: ended before it was ready")


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextlib.contextmanager
def running_fleet(hostfile: str, control: str | None) -> Iterator[FleetUnderLoad]:
    """The fleet in `hostfile`, driven at `control` if that is given; the token is in $FLEETSIM_CONTROL_TOKEN.

    It is left running. Raises HostfileError and ControlError.
    """
    parse_hostfile(hostfile)  # complains by the file's name, which is lost in the text
    caller = Caller(control, os.environ.get("FLEETSIM_CONTROL_TOKEN")) if control else None
    yield FleetUnderLoad(Path(hostfile).read_text("utf-8-sig"), caller)
