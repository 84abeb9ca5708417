"""What came out of a run, as it stands in the JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.bench.peers.spread import Spread

__all__ = ["FIGURES", "SCHEMA", "Cell", "Figure", "Results", "Start"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """What a number of a cell means. `of`: whose it is, "client", "server" or "both"."""

    title: str
    unit: str
    of: str
    higher_is_better: bool = False


FIGURES = {
    "requests_per_second": Figure("Requests per second", "1/s", "both", higher_is_better=True),
    "client_cpu": Figure("CPU per request, client", "µs", "client"),
    "server_cpu": Figure("CPU per request, server", "µs", "server"),
    "client_memory": Figure("Memory, client", "MB", "client"),
    "server_memory": Figure("Memory, server", "MB", "server"),
    "client_late": Figure("Timer error, client", "ms", "client"),
    "server_late": Figure("Timer error, server", "ms", "server"),
    "opened": Figure("Connections opened per 1,000 requests", "", "client"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A client with a server, so many agents; the spread over the rounds of each of FIGURES."""

    client: str
    server: str
    agents: int
    figures: Mapping[str, Spread]
    failures: int
    why: str

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Cell:
        """What `asdict` and JSON have made of one."""
        figures = {name: Spread(*values) for name, values in written["figures"].items()}
        return cls(**{**written, "figures": figures})


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds until a client (`of`) is made, or a server's process listens at all its ports.

    `agents`: for how many; None is the import of a client's modules, for however many.
    """

    of: str
    name: str
    agents: int | None
    seconds: Spread

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Start:
        """What `asdict` and JSON have made of one."""
        return cls(**{**written, "seconds": Spread(*written["seconds"])})


@dataclass(frozen=True, slots=True)
class Results:
    """A run. Its `written` and `read` are each other's inverse."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    loops: Mapping[str, str]
    left_out: Sequence[str]
    plan: Mapping[str, Any]
    cells: Sequence[Cell]
    starts: Sequence[Start]

    def written(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Results:
        """From JSON. Raises ValueError for another schema, and for what does not follow it."""
        if written.get("schema") != SCHEMA:
            raise ValueError(f"schema: expected {SCHEMA}, got {written.get('schema')!r}")
        try:
            return cls._read(written)
        except (KeyError, TypeError) as error:
            raise ValueError(f"results: expected those of schema {SCHEMA}, got {error!r}") from error

    @classmethod
    def _read(cls, written: Mapping[str, Any]) -> Results:
        return cls(
            **{
                **{name: value for name, value in written.items() if name != "schema"},
                "cells": [Cell.read(cell) for cell in written["cells"]],
                "starts": [Start.read(start) for start in written["starts"]],
            }
        )

    def clients(self) -> list[str]:
        """Who took part, in the order of the file."""
        return list(dict.fromkeys(cell.client for cell in self.cells))

    def servers(self) -> list[str]:
        """The same."""
        return list(dict.fromkeys(cell.server for cell in self.cells))

    def sizes(self) -> list[int]:
        """Numbers of agents, from few to many."""
        return sorted({cell.agents for cell in self.cells})
