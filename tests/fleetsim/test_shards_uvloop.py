"""Shards under a fleet on uvloop, whose transports derive from nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from processes import is_running
from words import words_of

from fleetsim import ShardedFleet

uvloop = pytest.importorskip("uvloop")


def test_a_fleet_is_served_restarted_and_ended() -> None:
    """An assertion about the transport's class failed every start."""
    lines: asyncio.Queue[str] = asyncio.Queue()

    async def main() -> list[int | None]:
        async with (
            asyncio.timeout(60),  # pytest's own limit cannot interrupt a loop that waits in C
            ShardedFleet(2, processes=2, restart_shards=True, report=lines.put_nowait) as fleet,
        ):
            words = [await words_of(endpoint.port) for endpoint in fleet.endpoints]
            killed = fleet.shards[1].pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            assert "was killed by SIGKILL" in await lines.get()
            assert "serves again" in await lines.get()
            assert await words_of(fleet.endpoints[1].port) == words[1]
            await fleet.ledger.wait_for(requests=2, open_now=0)
            pids = [killed, *(shard.pid for shard in fleet.shards)]
        assert (await fleet.ledger.snapshot()).lost == (1,)
        return pids

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert not any(is_running(pid) for pid in runner.run(main()) if pid is not None)
