from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from loadtests.bench.peers.installed import Field
from loadtests.bench.peers.page import page
from loadtests.bench.peers.plan import Plan
from loadtests.bench.peers.results import FIGURES, Results
from loadtests.bench.peers.run import run_peers

TINY = Plan(requests={2: 20}, seconds=30.0, warm_up_seconds=30.0, rounds=2, starts=2)
TAKES = {"swarmpool": (), "httpx": ("httpx",), "openai": ("openai",), "fastapi": ("fastapi", "uvicorn")}


async def ran(client: str, server: str) -> Results:
    field = Field((client,), (server,), {server: sys.executable}, {"aiohttp": "3"}, ())
    lines: list[str] = []
    results = await run_peers(TINY, field, lines.append)
    assert lines == ["2 agents, round 1 of 2", "2 agents, round 2 of 2"]
    return results


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("swarmpool", "aiohttp"),
        ("aiohttp", "fleetsim"),
        ("httpx", "fleetsim"),
        ("openai", "fleetsim"),
        ("swarmpool", "fastapi"),
    ],
)
async def test_a_tiny_run_measures_every_figure(client: str, server: str) -> None:
    for name in (*TAKES.get(client, ()), *TAKES.get(server, ())):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    results = await ran(client, server)
    (cell,) = results.cells
    assert (cell.client, cell.server, cell.agents, cell.failures, cell.why) == (client, server, 2, 0, "")
    assert {*cell.figures} == {*FIGURES}
    for name in ("requests_per_second", "client_cpu", "server_cpu", "client_memory", "server_memory"):
        assert cell.figures[name].low > 0, name
    starts = {(start.of, start.name, start.agents) for start in results.starts}
    assert starts == {("client", client, None), ("client", client, 2), ("server", server, 2)}
    assert Results.read(results.written()) == results
    assert f"| {client} | {server} |" in page(results, picture="p.svg")


async def test_connections_that_stay_open_are_not_opened_again() -> None:
    (cell,) = (await ran("swarmpool", "fleetsim")).cells
    assert cell.figures["opened"].high == 0
