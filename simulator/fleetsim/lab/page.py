"""The page `docs/lab.md`, made from what the rooms say when they are run.

    python -m fleetsim.lab.page docs/lab.md

Nothing on it depends on the machine: figures that would are not claimed, and times are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fleetsim.lab.connector import PUBLISHED, Variant, connector_room
from fleetsim.lab.room import Account, visit
from fleetsim.lab.rooms import ROOMS

__all__ = ["main", "page"]

_INTRODUCTION = """\
# The connector laboratory

What does aiohttp's connection pool do with a response that nobody reads? Does `limit` bound sockets? `fleetsim lab`
runs such questions as experiments on the aiohttp you have installed. Each room makes a claim, runs a client and a fleet
in one event loop, and tells after each step what the connector counted, what the fleet saw, and why.

    fleetsim lab --list                  the rooms
    fleetsim lab connector               the published experiment
    fleetsim lab connector --eof eager   the same, with a whole response in one write
    fleetsim lab all --json lab.json     everything, for programs too

A figure that comes out otherwise than claimed is told, and the exit status is 1: another aiohttp may behave otherwise.
What a pool counts is private in aiohttp; where a name has gone the laboratory says `not readable on aiohttp X`.

This page is what the rooms said: `python -m fleetsim.lab.page docs/lab.md` writes it, and a test compares it with
the oldest and the newest aiohttp that is allowed.
"""

_VARIANTS: Final[tuple[tuple[str, Variant], ...]] = (
    ("", PUBLISHED),
    ("--chunked", Variant(chunked=True)),
    ("--gzip", Variant(compressed=True)),
    ("--eof eager", Variant(eof=None)),
    ("--eof eager --latency 0", Variant(eof=None, latency=0)),
    ("--eof eager --chunked", Variant(eof=None, chunked=True)),
    ("--eof eager --body 4000000", Variant(eof=None, body=4_000_000)),
    ("--eof 1m", Variant(eof=60.0)),
)


def page(accounts: Sequence[Account]) -> str:
    """The whole page as text, `accounts` in their order. Runs the variants of the room `connector`."""
    lines = [_INTRODUCTION]
    for account in accounts:
        lines += _section(account)
        if account.name == "connector":
            lines += _variants()
    return "\n".join(lines)


def _section(account: Account) -> Iterator[str]:
    yield f"## {account.name}\n"
    yield f"{account.claim}\n"
    yield "| step | connector | fleet | why |"
    yield "|---|---|---|---|"
    for row in account.rows:
        yield f"| {row.done} | {row.connector} | {row.fleet} | {row.why} |"
    yield f"\n    {account.conclusion}\n"
    yield f"Read on: {account.source}\n"


def _variants() -> Iterator[str]:
    yield "| `fleetsim lab connector` ... | comes to |"
    yield "|---|---|"
    for flags, variant in _VARIANTS:
        yield f"| {f'`{flags}`' if flags else ''} | `{visit(connector_room(variant)).conclusion}` |"
    yield "\n5, 5 is a truly eager EOF; 4, 4 one that comes while the next request waits for its head; 4, 3 one that"
    yield "comes later still, or that aiohttp does not meet because the body is beyond its read buffer.\n"


def main(path: str) -> None:
    """Run every room and write the page to `path`."""
    Path(path).write_text(page([visit(room) for room in ROOMS]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
