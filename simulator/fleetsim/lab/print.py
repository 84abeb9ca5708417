"""The accounts for people: plain blocks of lines, each room's conclusion last."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import click

from fleetsim.lab.room import Account, Room

__all__ = ["account_lines", "list_lines"]

WIDTH = 110
INDENT = 15


def account_lines(account: Account, version: str) -> Iterator[str]:
    """Yield the lines of one account; a conclusion is never broken over lines."""
    yield click.style(f"{account.name} (aiohttp {version})", bold=True)
    yield from textwrap.wrap(f"Claim: {account.claim}", WIDTH)
    yield from textwrap.wrap(f"Read on: {account.source}", WIDTH, break_long_words=False, break_on_hyphens=False)
    for row in account.rows:
        yield ""
        yield from _entry(row.done, "", bold=True)
        yield from _entry("  connector", row.connector)
        yield from _entry("  fleet", row.fleet)
        yield from _entry("  why", row.why)
    yield ""
    for problem in account.problems:
        yield from _entry("otherwise", problem)
    yield account.conclusion


def _entry(label: str, text: str, *, bold: bool = False) -> Iterator[str]:
    lines = textwrap.wrap(text, WIDTH - INDENT) or [""]
    shown = click.style(label, bold=True) if bold else label
    yield f"{shown}{' ' * (INDENT - len(label))}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield " " * INDENT + line


def list_lines(rooms: Sequence[Room]) -> Iterator[str]:
    """Yield a line per room: its name and its claim."""
    width = max(len(room.name) for room in rooms)
    for room in rooms:
        yield f"{room.name:{width}}  {room.claim}"
