"""`fleetsim lab`: the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fleetsim.lab.connector import PUBLISHED, Variant, connector_room
from fleetsim.lab.print import account_lines, list_lines
from fleetsim.lab.report import as_json, summary
from fleetsim.lab.room import Account, Room, visit
from fleetsim.lab.rooms import ROOMS
from fleetsim.units import format_duration, parse_duration

__all__ = ["lab"]

ALL = "all"
VARIES = ("eof", "latency", "body", "compressed", "chunked")
STANDARD_OUTPUT = Path("-")


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _duration_or_eager(ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    return None if value == "eager" else _duration(ctx, param, value)


def _variant_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What can be varied in the room `connector`."""
    eof, latency = format_duration(PUBLISHED.eof or 0), format_duration(PUBLISHED.latency)
    for option in (
        click.option("--chunked", is_flag=True, help="connector: A's body ends with a last chunk."),
        click.option("--gzip", "compressed", is_flag=True, help="connector: A's body is compressed."),
        click.option("--body", type=click.IntRange(min=1), default=PUBLISHED.body, help="connector: A's body, bytes."),
        click.option("--latency", callback=_duration, default=latency, help="connector: time to the first byte."),
        click.option("--eof", callback=_duration_or_eager, default=eof, help="connector: 'eager', or A's EOF so late."),
    ):
        command = option(command)
    return command


@click.command(epilog="Exit status: 0 all as claimed, 1 a room came out otherwise, 2 bad input.")
@click.argument("names", nargs=-1, metavar="[ROOM]...")
@_variant_options
@click.option("--list", "listing", is_flag=True, help="List the rooms and their claims, and stop.")
@click.option(
    "--json",
    "report",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the accounts as JSON there; without FILE, instead of the text.",
)
@click.pass_context
def lab(ctx: click.Context, /, names: tuple[str, ...], listing: bool, report: Path | None, **varied: Any) -> None:
    """Experiments on the connection pool of the installed aiohttp.

    ROOM is a name of --list, or all. After each step: what the connector counted, what the fleet saw, and why.

    \b
    Example: fleetsim lab connector
             fleetsim lab connector --eof eager
    """
    if listing:
        click.echo("\n".join(list_lines(ROOMS)))
        return
    rooms = chosen_rooms(names, Variant(**varied), varies=_is_varied(ctx))
    check_writable(report)
    accounts = visit_all(rooms, silent=report == STANDARD_OUTPUT)
    if report is not None:
        with click.open_file(str(report), "w", encoding="utf-8") as file:
            file.write(as_json(accounts))
    if not all(account.agrees for account in accounts):
        ctx.exit(1)


def _is_varied(ctx: click.Context) -> bool:
    return any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in VARIES)


def chosen_rooms(names: Sequence[str], variant: Variant, *, varies: bool) -> list[Room]:
    """The rooms called `names`, in the order of the list, `connector` with its `variant`."""
    by_name = {room.name: room for room in ROOMS}
    expected = f"expected {ALL} or one of {', '.join(by_name)}"
    if not names:
        raise click.UsageError(f"which room? {expected}")
    for name in names:
        if name not in by_name and name != ALL:
            raise click.BadParameter(f"no room {name!r}: {expected}", param_hint="ROOM")
    chosen = list(by_name) if ALL in names else [name for name in by_name if name in names]
    if varies and "connector" not in chosen:
        raise click.UsageError("--eof, --latency, --body, --gzip and --chunked vary the room connector alone")
    return [connector_room(variant) if name == "connector" else by_name[name] for name in chosen]


def visit_all(rooms: Sequence[Room], *, silent: bool) -> list[Account]:
    """Run `rooms` and return their accounts; unless `silent`, print each as it comes, and a summary of several."""
    accounts = []
    for room in rooms:
        accounts.append(visit(room))
        if not silent:
            gap = [""] if len(accounts) > 1 else []
            click.echo("\n".join([*gap, *account_lines(accounts[-1], version("aiohttp"))]))
    if len(accounts) > 1 and not silent:
        click.echo(f"\n{summary(accounts)}")
    return accounts


def check_writable(report: Path | None) -> None:
    """Complain about an unwritable report before the work, not after it."""
    if report is None or report == STANDARD_OUTPUT:
        return
    try:
        report.open("a", encoding="utf-8").close()
    except OSError as error:
        raise click.BadParameter(f"cannot write {report}: {error.strerror}", param_hint="--json") from error
