"""`fleetsim faults`: the catalogue, printed."""

from __future__ import annotations

import dataclasses

import click
import msgspec

from fleetsim.faults.catalogue import Description, describe, parse_fault
from fleetsim.faults.page import in_full, listing

__all__ = ["faults"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one fault per line.")
def faults(names: tuple[str, ...], as_json: bool) -> None:
    """List every fault there is, or tell all about the named ones.

    Example: fleetsim faults stall reset
    """
    kept = tuple(each for each in describe() if not names or each.name in _checked(names))
    if as_json:
        click.echo("\n".join(_json(each) for each in kept))
    elif names:
        click.echo("\n\n".join(map(in_full, kept)))
    else:
        click.echo(listing(kept))


def _checked(names: tuple[str, ...]) -> set[str]:
    return {parse_fault(name).name for name in names}


def _json(fault: Description) -> str:
    return msgspec.json.encode(dataclasses.asdict(fault)).decode()
