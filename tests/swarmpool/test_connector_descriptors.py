"""Running out of file descriptors in the middle of the work."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from raw_agent import RawAgent, RawConnection, says

OUT_OF_DESCRIPTORS = """
import asyncio, json, logging, os, resource, sys
from swarmpool import AgentPool, FailureKind

logging.basicConfig()  # the library is silent without

async def main(port):
    pool = AgentPool([("127.0.0.1", port)], connector_limit=64, concurrency=64, keepalive_timeout=None)
    async with pool:
        await pool.post(0, "the first loads what is loaded late")
        responses = await asyncio.gather(*(pool.post(0, "hi") for _ in range(64)))
        kinds = sorted({str(response.kind) for response in responses})
        errors = {response.error for response in responses if response.kind == "descriptors"}
        after = [(await pool.post(0, "hi")).success for _ in range(5)]
        now = pool.statistics()
        print(json.dumps([kinds, errors.pop(), after, now.admission.in_flight, now.connections.dialing]))

used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))
asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors where Linux lists them")
async def test_running_out_of_descriptors_is_a_kind_and_loses_no_slot() -> None:
    """The limit is lowered in a process of its own, for it holds for all of it."""
    waiting: list[RawConnection] = []
    held = asyncio.Event()

    def respond(connection: RawConnection) -> None:
        if agent.opened == 1 or held.is_set():
            connection.write(says())
            return
        waiting.append(connection)
        if len(waiting) == 1:
            asyncio.get_running_loop().call_later(0.3, answer_all)

    def answer_all() -> None:
        held.set()
        for connection in waiting:
            connection.write(says())

    async with RawAgent(respond) as agent:
        command = [sys.executable, "-c", OUT_OF_DESCRIPTORS, str(agent.port)]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    kinds, error, after, in_flight, dialing = json.loads(ended.stdout)
    assert kinds == ["None", "descriptors"]
    assert "Too many open files" in error
    assert "raise the limit on open files (`ulimit -n`) or lower connector_limit" in error
    assert after == [True] * 5
    assert (in_flight, dialing) == (0, 0)
    assert "connector_limit=64 needs about" in ended.stderr
