"""A Dask cluster of two worker processes on this machine, and what a fleet on it is asked, as a program of its own.

Dask has threads that outlive it, which the leak gate is right to refuse. `python dask_cluster.py SCENARIO` prints what
came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster
from raw_http import Peer, get
from words import words_of

from fleetsim import FleetError, Profile
from fleetsim.cluster.dask import DaskFleet


def serve(cluster: Any, client: Any) -> dict[str, object]:
    profile = Profile.parse({"seed": 7, "faults": [{"fault": "unavailable", "where": {"server": 3}}]})
    before = listening(client)
    with DaskFleet(client, 2, profile=profile) as fleet:
        with tempfile.TemporaryDirectory() as folder:
            hosts = fleet.hostfile(Path(folder, "hosts.tsv")).read_text("utf-8")
        words = [asyncio.run(words_of(endpoint.port)) for endpoint in fleet.endpoints[:3]]
        status = asyncio.run(status_of(fleet.endpoints[3].port))
        figures, during = fleet.snapshot(), listening(client)
        cluster.scale(3)
        client.wait_for_workers(3)
        with DaskFleet(client, 1) as second:
            of_second = len(second)
        of_first = fleet.snapshot().opened
    return {
        "hosts": hosts,
        "words": words,
        "status": status,
        "opened": figures.opened,
        "later": [of_first, of_second],
        "listening": [before, during, listening(client)],
    }


def taken(cluster: Any, client: Any) -> dict[str, object]:
    """Both workers are on one machine: the second cannot have the ports of the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = listening(client)
    try:
        with DaskFleet(client, 1, base_port=port):
            return {"error": None}
    except FleetError as error:
        said = f"{type(error).__name__}: {error}"
    plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("fleetsim")])
    return {"error": said, "port": port, "listening": [before, listening(client)], "left": list(plugins.values())}


def refused(cluster: Any, client: Any) -> dict[str, object]:
    said = []
    for make in (
        lambda: DaskFleet(client, 0),
        lambda: DaskFleet(client, 1, profile=Profile(tls=True)),
        lambda: DaskFleet(client, 1).endpoints,
        lambda: DaskFleet(client, 1).snapshot(),
    ):
        try:
            make()
        except (ValueError, FleetError) as error:
            said.append(str(error))
    return {"said": said}


async def status_of(port: int) -> str:
    async with Peer(port) as peer:
        await peer.send(get("/health"))
        return (await peer.response()).split()[1].decode()


def listening(client: Any) -> list[int]:
    """How many sockets the first two workers listen at; whose a port is could not be told from outside."""
    counted: dict[str, int] = client.run(_listening)
    return list(counted.values())[:2]


def _listening() -> int:
    return sum(map(_is_listening, os.listdir("/proc/self/fd")))


def _is_listening(descriptor: str) -> bool:
    try:
        twin = os.dup(int(descriptor))
    except OSError:
        return False  # that by which the folder was read
    try:
        with socket.socket(fileno=twin) as each:
            return bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        os.close(twin)
        return False


if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as there,
        Client(there) as asked,
    ):
        print(json.dumps({"serve": serve, "taken": taken, "refused": refused}[sys.argv[1]](there, asked)))
