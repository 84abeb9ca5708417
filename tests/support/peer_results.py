"""Results of a benchmark against peers, made by hand."""

from __future__ import annotations

from typing import Any

from loadtests.bench.peers.results import FIGURES, Cell, Results, Start
from loadtests.bench.peers.spread import Spread

__all__ = ["MACHINE", "around", "cell", "results", "start"]

MACHINE: dict[str, Any] = {
    "processor": "Abacus",
    "cpus": 2,
    "memory_mb": 16_000,
    "system": "Linux 6 x86_64",
    "python": "3.11.7",
    "begun": "2026-01-02 03:04 UTC",
    "load_before": [0.1, 0.2, 0.3],
    "load_after": [2.5, 1.0, 0.5],
    "seconds": 123,
}


def around(middle: float, *, by: float = 0.0) -> Spread:
    """Quartiles a share of the middle away."""
    return Spread(middle * (1 - by), middle, middle * (1 + by))


def cell(client: str, server: str, agents: int = 1, failures: int = 0, /, **figures: Spread | float) -> Cell:
    """A cell whose figures are 100 where nothing else is said."""
    found = {name: figures.get(name, 100.0) for name in FIGURES}
    spreads = {name: each if isinstance(each, Spread) else around(each) for name, each in found.items()}
    return Cell(client, server, agents, spreads, failures, "it broke" if failures else "")


def start(of: str, name: str, seconds: float, agents: int | None = 1) -> Start:
    """A start that took as long each time."""
    return Start(of, name, agents, around(seconds))


def results(*cells: Cell, starts: tuple[Start, ...] | None = None, left_out: tuple[str, ...] = ()) -> Results:
    """A run with these cells, and a start of a second for everybody in them if none are given."""
    all_alike = {
        (side, name, each.agents): start(side, name, 1.0, each.agents)
        for each in cells
        for side, name in (("client", each.client), ("server", each.server))
    }
    requests = [[agents, 100 * agents] for agents in sorted({each.agents for each in cells})]
    return Results(
        machine=MACHINE,
        versions={"aiohttp": "3.14.5"},
        loops=dict.fromkeys((each.server for each in cells), "uvloop"),
        left_out=list(left_out),
        plan={"requests": requests, "rounds": 3, "seconds": 1.2, "seed": 1, "concurrent": 64},
        cells=list(cells),
        starts=list(all_alike.values() if starts is None else starts),
    )
