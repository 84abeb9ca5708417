"""A fleet on a Dask cluster of two worker processes; all of it in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from words import words_of

from fleetsim import Fleet

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PATIENCE = 90.0

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is in the extra `dask`")


def on_a_cluster(scenario: str) -> Any:
    command = [sys.executable, "-W", "default", str(SUPPORT / "dask_cluster.py"), scenario]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@needs_dask
@pytest.mark.slow
async def test_workers_serve_one_fleet_and_those_that_come_later_serve_nothing() -> None:
    found = on_a_cluster("serve")
    lines = [line.split("\t") for line in found["hosts"].splitlines()]
    assert [fields[2] for fields in lines] == ["rank=0", "rank=0", "rank=1", "rank=1"]
    async with Fleet(4, seed=7) as whole:
        assert found["words"] == [await words_of(server.port) for server in (whole[0], whole[1], whole[2])]
    assert found["status"] == "503"  # by the rule for server 3
    assert found["opened"] == 4
    assert found["later"] == [4, 3]
    before, during, after = found["listening"]
    assert during == [number + 2 for number in before]
    assert after == before


@needs_dask
@pytest.mark.slow
def test_a_worker_that_cannot_listen_leaves_no_server_on_any() -> None:
    found = on_a_cluster("taken")
    assert found["error"].startswith(f"BindError: cannot listen on 127.0.0.1 port {found['port']}: ")
    before, after = found["listening"]
    assert after == before
    assert found["left"] == [[], []]


@needs_dask
@pytest.mark.slow
def test_what_cannot_be_is_refused() -> None:
    assert on_a_cluster("refused")["said"] == [
        "size: expected a whole number of at least 1, got 0",
        "profile: expected tls: false, for workers have no authority in common",
        "endpoints: expected a fleet that has been entered",
        "snapshot: expected a fleet that is entered",
    ]


@pytest.mark.skipif(find_spec("distributed") is not None, reason="distributed is installed")
def test_without_dask_the_import_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'swarmpool\[fleet,dask\]'"):
        import fleetsim.cluster.dask  # noqa: F401
