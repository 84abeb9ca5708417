from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fleetsim import Fleet
from fleetsim.errors import ControlError
from loadtests.fleet import FleetFailed, child_fleet, fleet_for, running_fleet
from loadtests.options import Options
from loadtests.shapes import Strike
from swarmpool import HostfileError, VLLMPool


async def ask(pool: VLLMPool) -> None:
    async with pool:
        assert (await pool.post(0, "hello", 4)).success


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def test_a_fleet_of_our_own_serves_is_driven_and_is_gone_afterwards(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("model: mine\n")
    with fleet_for(Options.read({"fleet_size": "3", "fleet_profile": str(profile), "seed": "4"})) as fleet:
        assert len(fleet.endpoints) == 3
        (state,) = (tmp_path / "fleetsim").iterdir()
        pid = int(state.stem)
        before = fleet.ledger()
        assert before is not None
        await ask(VLLMPool(fleet.endpoints, model="mine"))
        after = fleet.quiet_ledger(before)
        assert after is not None
        assert (after["opened"], after["open_now"], after["requests"]) == (1, 0, 1)
        fleet.arm(Strike(0.0, 60.0, "dead", ({"fault": "refuse", "for": 60.0},)))
        refused = VLLMPool(fleet.endpoints, model="mine")
        async with refused:
            assert (await refused.post(0, "hello", 4)).kind == "connect"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)


def test_a_fleet_that_does_not_start_is_said_to_have_not(tmp_path: Path) -> None:
    with pytest.raises(FleetFailed, match="ended before it was ready"), child_fleet(1, profile=str(tmp_path / "none")):
        pytest.fail("there is no such profile")  # pragma: no cover


def test_a_running_fleet_is_read_driven_and_left_alone(tmp_path: Path) -> None:
    with Fleet(2, control_port=0) as running:
        hostfile = str(running.hostfile(tmp_path / "hosts.tsv"))
        options = Options.read({"hostfile": hostfile, "control": running.control_url})
        with fleet_for(options) as fleet:
            assert [each.port for each in fleet.endpoints] == [each.port for each in running.endpoints]
            assert fleet.ledger() is not None
        assert running[0].state.value == "serving"


def test_without_a_control_port_there_is_no_ledger_and_no_strike(tmp_path: Path) -> None:
    with Fleet(1) as running, running_fleet(str(running.hostfile(tmp_path / "hosts.tsv")), None) as fleet:
        assert (fleet.ledger(), fleet.quiet_ledger(None)) == (None, None)
        fleet.arm(Strike(0.0, 1.0, "nothing", ({"fault": "refuse"},)))


def test_a_hostfile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostfileError, match=r"none\.tsv"), running_fleet(str(tmp_path / "none.tsv"), None):
        pytest.fail("there is no such file")  # pragma: no cover


def test_a_control_port_where_nobody_answers_is_named(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts.tsv"
    hostfile.write_text("127.0.0.1\t9\n")
    with running_fleet(str(hostfile), "http://127.0.0.1:1") as fleet, pytest.raises(ControlError, match="no fleet"):
        fleet.ledger()
