"""A run: who meets whom, in which order, and what is kept of it."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

from loadtests.bench.peers.ask import CONCURRENT
from loadtests.bench.peers.installed import Field
from loadtests.bench.peers.machine import load, machine
from loadtests.bench.peers.plan import Plan
from loadtests.bench.peers.results import Cell, Results, Start
from loadtests.bench.peers.spread import Spread
from loadtests.bench.peers.told import Told, told

__all__ = ["run_peers"]

Say = Callable[[str], None]

_LONG_START = 2.0  # seconds


async def run_peers(plan: Plan, field: Field, say: Say) -> Results:
    """Run all cells of a plan and return the figures. Raises ChildFailed. Cancelled, it ends its child processes."""
    begun, seconds = machine(), time.perf_counter()
    run = _Run(plan, field, say)
    for agents in plan.requests:
        await run.size(agents)
    spent = {"load_after": load(), "seconds": round(time.perf_counter() - seconds)}
    return Results(
        machine={**begun, **spent},
        versions=field.versions,
        loops=run.loops,
        left_out=field.left_out,
        plan={**asdict(plan), "requests": [[*each] for each in plan.requests.items()], "concurrent": CONCURRENT},
        cells=[*run.cells()],
        starts=[Start(*key, Spread.of(values)) for key, values in run.starts.items()],
    )


class _Run:
    """What a run has measured so far."""

    def __init__(self, plan: Plan, field: Field, say: Say) -> None:
        self._plan, self._field, self._say = plan, field, say
        self._rng = random.Random(plan.seed)
        self._samples: dict[tuple[str, str, int], list[dict[str, float]]] = defaultdict(list)
        self._failures: dict[tuple[str, str, int], list[tuple[int, str]]] = defaultdict(list)
        self.starts: dict[tuple[str, str, int | None], list[float]] = defaultdict(list)
        self.loops: dict[str, str] = {}

    async def size(self, agents: int) -> None:
        """All rounds of all cells with so many agents."""
        async with AsyncExitStack() as stack:
            servers = {
                name: await stack.enter_async_context(self._server(name, agents)) for name in self._field.servers
            }
            clients = {name: await stack.enter_async_context(self._client(name)) for name in self._field.clients}
            for number in range(self._plan.rounds):
                self._say(f"{agents:,} agent{'s' * (agents > 1)}, round {number + 1} of {self._plan.rounds}")
                for client, server in self._order():
                    await self._meet(client, clients[client], server, servers[server], agents)

    def _order(self) -> Iterator[tuple[str, str]]:
        # A client's last connections may still be closing at a server: who comes next goes to another.
        clients, servers = [*self._field.clients], [*self._field.servers]
        self._rng.shuffle(clients)
        for client in clients:
            self._rng.shuffle(servers)
            yield from ((client, server) for server in servers)

    @asynccontextmanager
    async def _client(self, name: str) -> AsyncIterator[Told]:
        async with told("client_process", name) as client:
            self.starts["client", name, None].append(client.first["imported"])
            yield client

    @asynccontextmanager
    async def _server(self, name: str, agents: int) -> AsyncIterator[Told]:
        left, served = self._plan.starts, False
        while not served:
            async with told("server_process", name, str(agents), python=self._field.pythons[name]) as server:
                self.starts["server", name, agents].append(server.seconds)
                self.loops[name] = server.first["loop"]
                left = left - 1 if server.seconds < _LONG_START else 0
                if served := left == 0:
                    yield server

    async def _meet(self, client: str, asking: Told, server: str, serving: Told, agents: int) -> None:
        plan = self._plan
        urls = [f"http://127.0.0.1:{port}" for port in serving.first["ports"]]
        opened = await asking.do("open", urls=urls, requests=plan.warm_up(agents), seconds=plan.warm_up_seconds)
        if opened["made"] is not None:
            self.starts["client", client, agents].append(opened["made"])
        await serving.do("begin")
        asked = await asking.do("run", requests=plan.requests[agents], seconds=plan.seconds)
        served = await serving.do("end")
        await asking.do("close")
        key = (client, server, agents)
        self._samples[key].append(sample(asked, served))
        self._failures[key] += [(each["failures"], each["why"]) for each in (opened, asked)]

    def cells(self) -> Iterator[Cell]:
        """A cell for each client, server and number of agents."""
        for key, samples in sorted(self._samples.items(), key=self._place):
            figures = {name: Spread.of([each[name] for each in samples]) for name in samples[0]}
            failures = self._failures[key]
            why = next((why for _, why in failures if why), "")
            yield Cell(*key, figures=figures, failures=sum(number for number, _ in failures), why=why)

    def _place(self, item: tuple[tuple[str, str, int], object]) -> tuple[int, int, int]:
        client, server, agents = item[0]
        return agents, self._field.servers.index(server), self._field.clients.index(client)


def sample(asked: dict[str, Any], served: dict[str, Any]) -> dict[str, float]:
    """One cell in one round, in the units of FIGURES."""
    requests = asked["requests"]
    return {
        "requests_per_second": requests / asked["seconds"],
        "client_cpu": asked["cpu"] / requests * 1e6,
        "server_cpu": served["cpu"] / requests * 1e6,
        "client_memory": asked["memory"] / 1e6,
        "server_memory": served["memory"] / 1e6,
        "client_late": asked["lag"]["p99"] * 1e3,
        "server_late": served["lag"]["p99"] * 1e3,
        "opened": asked["opened"] / requests * 1e3,
    }
