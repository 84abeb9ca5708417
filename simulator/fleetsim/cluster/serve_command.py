"""`fleetsim serve`: one rank's servers, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from pathlib import Path
from typing import Any

import click

from fleetsim.cluster.part import part_of
from fleetsim.cluster.ranks import Rank, job_of, rank_of
from fleetsim.cluster.registry import registered
from fleetsim.fleet import Fleet
from fleetsim.server import FleetEndpoint
from fleetsim.settings import described_profile, profile_options
from fleetsim.stopping import entered, told_to_stop

__all__ = ["serve"]

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--register", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", required=True, help="Shared."
)
@click.option("--size", type=click.IntRange(min=1), default=1, metavar="N", help="Servers of this rank. [1]")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="Its number. [as the launcher says]")
@click.option("--host", default="0.0.0.0", help="Address to listen on. [all]")  # noqa: S104 - other nodes are to reach it
@click.option("--advertise", default="{host}", metavar="NAME", help="How others reach it. [{host}: its host name]")
@click.option("--base-port", type=int, metavar="PORT", help="First port of the node, others count on.")
@profile_options
def serve(
    register: Path,
    size: int,
    rank: int | None,
    host: str,
    advertise: str,
    base_port: int | None,
    profile: str | None,
    jitter: dict[str, Any] | None,
    **settings: Any,
) -> None:
    """Run one rank's servers under mpiexec or srun, known by a file in DIR.

    Example: fleetsim serve --size 64 --register DIR
    """
    ctx = click.get_current_context()
    me = rank_of(os.environ)
    if rank is not None:
        me = dataclasses.replace(me, number=rank, source="--rank")
    described = described_profile(ctx, profile, jitter, settings)
    if described.tls:
        raise click.UsageError("tls: expected false, for ranks have no authority in common", ctx)
    try:
        port = None if base_port is None else base_port + (me.local or 0) * size
        fleet = part_of(me.number, size, described, host=host, base_port=port)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error
    asyncio.run(_serve(fleet, me, register, advertise.replace("{host}", socket.gethostname())))


async def _serve(fleet: Fleet, me: Rank, folder: Path, advertised: str) -> None:
    async with told_to_stop() as stop, contextlib.AsyncExitStack() as stack:
        if await entered(stack, fleet, stop):
            endpoints = [FleetEndpoint(advertised, each.port, each.tags) for each in fleet.endpoints]
            path = stack.enter_context(registered(folder, me, job_of(os.environ), endpoints))
            first = fleet[0].index
            click.echo(f"{me}: servers {first} to {first + len(fleet) - 1} on {advertised}, in {path}")
            await stop.wait()
    click.echo(f"rank {me.number}: stopped after {fleet.ledger.requests} requests on {fleet.ledger.opened} connections")
