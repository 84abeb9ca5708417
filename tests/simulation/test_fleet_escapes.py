"""What a fleet does outside of its loop, it does in no simulation: it says so, at once, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from differential_fleet import FleetStage, assert_same, settle

import simkernel
from fleetsim import Fleet, ShardedFleet

Enter = Callable[[Path], Coroutine[Any, Any, None]]


async def at_unix_sockets(folder: Path) -> None:
    async with Fleet(1, unix_dir=folder):
        pass


async def in_a_thread(folder: Path) -> None:
    Fleet(1).start_in_thread()


async def in_processes(folder: Path) -> None:
    async with ShardedFleet(2, processes=2):
        pass


@pytest.mark.parametrize(
    ("enter", "call"),
    [
        (at_unix_sockets, "socket.socket(family=<AddressFamily.AF_UNIX"),
        (in_a_thread, "asyncio.new_event_loop()"),
        (in_processes, "socket.socketpair()"),
    ],
)
def test_a_fleet_that_would_leave_a_simulation_is_told_which_call_does(enter: Enter, call: str, tmp_path: Path) -> None:
    result = simkernel.attempt(lambda net: enter(tmp_path))
    assert isinstance(result.error, simkernel.SimEscape)
    assert call in str(result.error)
    assert list(tmp_path.iterdir()) == []


def test_a_control_port_is_served_in_a_simulation_as_on_loopback() -> None:
    async def scenario(stage: FleetStage) -> None:
        async with Fleet(2, control_port=0, keepalive_timeout=60) as fleet:
            async with stage.session() as session:
                for method, path in [("GET", "/-/servers"), ("GET", "/-/faults"), ("GET", "/nowhere")]:
                    async with session.request(method, f"{fleet.control_url}{path}") as response:
                        stage.tell(method, path, response.status, len(await response.read()))
                async with session.get(f"{fleet[1].url}/health") as response:
                    stage.tell(response.status)
                await settle()
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)
