"""A fleet over the workers of a Dask cluster, each of which serves a part of it, in its own process and loop.

    with Client(scheduler_file="scheduler.json") as client, DaskFleet(client, 64) as fleet:
        fleet.hostfile("hosts.tsv")

Guarantees. Entering returns when every server listens, on all workers, or raises and none listens. Leaving ends them
all; a worker that ends takes its servers with it. One that joins later, or is started anew, serves nothing: which
servers are whose is settled on entry.

Needs the extra `dask`, on the workers too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

try:
    from distributed import Client, WorkerPlugin
except ModuleNotFoundError as missing:
    from fleetsim.extra import missing_extra

    raise ModuleNotFoundError(missing_extra(missing) or str(missing), name=missing.name) from missing

from fleetsim.cluster.part import part_of
from fleetsim.errors import FleetError
from fleetsim.fleet import Fleet
from fleetsim.fleet_options import check_ports, check_profile, check_size, write_hostfile
from fleetsim.profile import Profile
from fleetsim.server import FleetEndpoint
from fleetsim.shards.ledger import ShardedSnapshot, summed

__all__ = ["DaskFleet", "FleetPlugin"]

_COUNT = itertools.count(1)


class FleetPlugin(WorkerPlugin):
    """Serves, on each worker that is in `numbers` by its address, part `numbers[address]` of the fleet.

    `host` is where to listen; None is where the worker does.
    """

    def __init__(
        self,
        name: str,
        numbers: Mapping[str, int],
        size: int,
        profile: Profile,
        host: str | None = None,
        base_port: int | None = None,
    ) -> None:
        self.name = name
        self._numbers, self._size, self._profile = dict(numbers), size, profile
        self._host, self._base_port = host, base_port
        self._fleet: Fleet | None = None
        self._entered = False

    async def setup(self, worker: Any) -> None:
        """Start this worker's servers, in its loop. Raises BindError and FleetError, with none left listening."""
        number = self._numbers.get(worker.address)
        if number is None:
            return
        host = worker.ip if self._host is None else self._host
        self._fleet = part_of(Fleet, number, self._size, self._profile, host=host, base_port=self._base_port)
        await self._fleet.__aenter__()
        self._entered = True

    async def teardown(self, worker: Any) -> None:  # noqa: ARG002 (Dask's signature)
        """End this worker's servers, and every request that is under way."""
        if self._fleet is not None and self._entered:
            self._entered = False
            await self._fleet.__aexit__(None, None, None)

    def endpoints(self) -> list[dict[str, Any]] | None:
        """Where this worker's servers are; None for a worker that has none."""
        return None if self._fleet is None else [asdict(each) for each in self._fleet.endpoints]

    def figures(self) -> dict[str, Any] | None:
        """This worker's ledger; None for a worker that has none."""
        return None if self._fleet is None else asdict(self._fleet.ledger.snapshot())


class DaskFleet:
    """`size` fake vLLM servers on each worker of a Dask cluster. A context manager, entered once.

    - `client`: a Client of the cluster that is not asynchronous.
    - `profile`: what each server is, as in `Fleet`; its rules that count do so on each worker for itself.
    - `host`: where each worker listens; None is where it does for Dask. `base_port`: the first server's port on each
      worker, which has to have its node to itself then; None lets the kernel choose.

    Workers are numbered in the order of their names; worker 3 of `size` 64 has the servers 192 to 255, tagged `rank=3`.
    Calls block, and are for one thread at a time.
    """

    def __init__(
        self,
        client: Client,
        size: int,
        *,
        profile: Profile | None = None,
        host: str | None = None,
        base_port: int | None = None,
    ) -> None:
        check_size(size)
        check_profile(profile)
        check_ports(base_port, None, size)
        if profile is not None and profile.tls:
            raise ValueError("profile: expected tls: false, for workers have no authority in common")
        if client.asynchronous:
            raise ValueError("client: expected one that is not asynchronous, for calls of this fleet block")
        self._client, self._size, self._host, self._base_port = client, size, host, base_port
        self.profile = profile if profile is not None else Profile()
        # A cluster may have several fleets, of several programs.
        self._name = f"fleetsim-{os.getpid()}-{next(_COUNT)}-{client.id}"
        self._endpoints: tuple[FleetEndpoint, ...] = ()
        self._entered = False

    def __repr__(self) -> str:
        return f"<DaskFleet of {len(self)} on {len(self) // self._size} workers>"

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def endpoints(self) -> tuple[FleetEndpoint, ...]:
        """Host, port and tags of each server. Raises FleetError before the fleet is entered."""
        if not self._endpoints:
            raise FleetError("endpoints: expected a fleet that has been entered")
        return self._endpoints

    def hostfile(self, path: str | os.PathLike[str]) -> Path:
        """Write a line `host<TAB>port<TAB>rank=...` per server, all at once or not at all, and return the path.

        Raises OSError when the file cannot be written, FleetError before the fleet is entered.
        """
        return write_hostfile(Path(path), self.endpoints)

    def snapshot(self) -> ShardedSnapshot:
        """Return the figures of all workers that are there, added up, each worker's at an instant of its own.

        Raises FleetError unless the fleet is entered.
        """
        if not self._entered:
            raise FleetError("snapshot: expected a fleet that is entered")
        each = [figures for figures in self._asked("figures") if figures is not None]
        return summed(each, lost=())

    def __enter__(self) -> Self:
        """Start the servers on every worker there is. Raises FleetError where there is no worker, and what `Fleet`
        raises on entry, with no server left listening."""
        if self._entered or self._endpoints:
            raise FleetError("a fleet is entered once: make a new one")
        names: dict[str, object] = self._client.run(_name)
        if not names:
            raise FleetError("client: expected a cluster with a worker at least, and it has none")
        numbers = {
            address: number for number, address in enumerate(sorted(names, key=lambda each: _order(names[each])))
        }
        plugin = FleetPlugin(self._name, numbers, self._size, self.profile, self._host, self._base_port)
        self._entered = True
        try:
            self._client.register_plugin(plugin)
            self._endpoints = tuple(FleetEndpoint(**each) for part in self._parts(numbers) for each in part)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _parts(self, numbers: Mapping[str, int]) -> list[list[dict[str, Any]]]:
        found = self._client.run(_ask, self._name, "endpoints", workers=list(numbers))
        parts = [found.get(address) for address in numbers]
        there = [part for part in parts if part is not None]
        if len(there) < len(parts):
            raise FleetError(f"{len(parts) - len(there)} of {len(parts)} workers went as the fleet was started")
        return there

    def _asked(self, what: str) -> Sequence[Any]:
        return list(self._client.run(_ask, self._name, what).values())

    def _leave(self) -> None:
        self._entered = False
        self._client.unregister_worker_plugin(self._name)


def _name(dask_worker: Any) -> object:
    return dask_worker.name


def _ask(name: str, what: str, dask_worker: Any) -> Any:
    plugin = dask_worker.plugins.get(name)
    return None if plugin is None else getattr(plugin, what)()


def _order(name: object) -> tuple[bool, int, str]:
    """Workers are called 0, 1, 2 by a LocalCluster, and as one likes otherwise."""
    text = str(name)
    return (False, int(text), "") if text.isascii() and text.isdigit() else (True, 0, text)
