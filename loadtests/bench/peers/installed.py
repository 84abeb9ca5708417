"""Who can take part: what is installed, in which versions, and a sentence for each peer that is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import swarmpool

__all__ = ["CLIENTS", "SERVERS", "Field", "Peer", "field_of"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A contestant by its name, and what must be installed for it."""

    name: str
    needs: tuple[str, ...]


CLIENTS = (
    Peer("swarmpool", ("aiohttp",)),
    Peer("aiohttp", ("aiohttp",)),
    Peer("httpx", ("httpx",)),
    Peer("openai", ("openai", "httpx2")),
)
SERVERS = (
    Peer("fleetsim", ("msgspec",)),
    Peer("aiohttp", ("aiohttp",)),
    Peer("fastapi", ("fastapi", "uvicorn")),
    Peer("guidellm", ("guidellm", "sanic")),
)
_BESIDES = ("uvloop", "httptools")
_ASK = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
"""


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part. `pythons`: the interpreter of each server. `left_out`: a sentence for each who does not."""

    clients: tuple[str, ...]
    servers: tuple[str, ...]
    pythons: dict[str, str]
    versions: dict[str, str]
    left_out: tuple[str, ...]


def field_of(clients: Iterable[Peer] = CLIENTS, servers: Iterable[Peer] = SERVERS, *, guidellm: str | None) -> Field:
    """Look for all of them. `guidellm` is the interpreter of an environment of its own, where there is one.

    Raises OSError where that cannot be run.
    """
    clients, servers = tuple(clients), tuple(servers)
    pythons = {peer.name: sys.executable for peer in servers}
    if guidellm is not None and "guidellm" in pythons:
        pythons["guidellm"] = guidellm
    needed = {need for peer in (*clients, *servers) for need in peer.needs} | {*_BESIDES}
    here = versions_in(sys.executable, needed)
    there = {
        name: here if python == sys.executable else versions_in(python, needed) for name, python in pythons.items()
    }
    left_out = [
        *(_sentence(peer) for peer in clients if not has(here, peer)),
        *(_sentence(peer) for peer in servers if not has(there[peer.name], peer)),
    ]
    own = {name: version for name, version in there.get("guidellm", {}).items() if name in ("guidellm", "sanic")}
    return Field(
        clients=tuple(peer.name for peer in clients if has(here, peer)),
        servers=tuple(peer.name for peer in servers if has(there[peer.name], peer)),
        pythons=pythons,
        versions={"swarmpool": swarmpool.__version__, **dict(sorted({**here, **own}.items()))},
        left_out=tuple(dict.fromkeys(left_out)),
    )


def has(versions: dict[str, str], peer: Peer) -> bool:
    return all(need in versions for need in peer.needs)


def versions_in(python: str, distributions: Iterable[str]) -> dict[str, str]:
    """Which of them an interpreter's environment has, and in which versions. Raises OSError."""
    command = [python, "-c", _ASK, *sorted(distributions)]
    asked = subprocess.run(command, check=False, capture_output=True, text=True)
    words = [line.split() for line in asked.stdout.splitlines()]
    if asked.returncode or any(len(each) != 2 for each in words):
        raise OSError(f"{python} does not answer as a Python interpreter would (exit code {asked.returncode})")
    return dict(words)


def _sentence(peer: Peer) -> str:
    if peer.name == "guidellm":
        return (
            "guidellm's mock server is left out: guidellm is not installed here, "
            "and --guidellm names no interpreter of an environment that has it."
        )
    return f"{peer.name} is left out: {' and '.join(peer.needs)} must be installed (the dependency group `bench`)."
