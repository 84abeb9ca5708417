"""`fleetsim serve`: one rank's servers, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetsim.certificates import Authority
from fleetsim.cluster.part import part_of
from fleetsim.cluster.ranks import Rank, job_of, rank_of
from fleetsim.cluster.registry import registered
from fleetsim.service import Service, counted, figures_of, findable, is_whole, service_options
from fleetsim.stopping import entered, told_to_stop

if TYPE_CHECKING:
    from fleetsim.service import AnyFleet

__all__ = ["serve"]


@click.command()
@click.option(
    "--register",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    required=True,
    help="Shared; --rank N if no launcher says.",
)
@click.option("--size", type=click.IntRange(min=1), default=1, metavar="N", help="Servers of this rank. [1]")
@click.option("--rank", type=click.IntRange(min=0), hidden=True)  # told with --register, for help is to fit a screen
@click.option("--host", default="0.0.0.0", help="Address to listen on. [all]")  # noqa: S104 - other nodes are to reach it
@click.option("--advertise", default="{host}", metavar="NAME", help="How others reach it. [{host}: its host name]")
@click.option("--base-port", type=int, metavar="PORT", help="First port of the node, others count on.")
@service_options
def serve(
    register: Path,
    size: int,
    rank: int | None,
    host: str,
    advertise: str,
    base_port: int | None,
    **given: Any,
) -> int:
    """Run a rank's servers. Example: fleetsim serve --size 64 --register DIR"""
    ctx = click.get_current_context()
    me = rank_of(os.environ)
    if rank is not None:
        me = dataclasses.replace(me, number=rank, source="--rank")
    service = Service.read(ctx, **given)
    advertised = advertise.replace("{host}", socket.gethostname())
    # Each rank has an authority of its own, so that no private key is in the folder that all share.
    authority = Authority(advertised) if service.profile.tls else None
    port = None if base_port is None else base_port + (me.local or 0) * size
    make = service.maker("fleetsim serve")
    try:
        fleet = part_of(make, me.number, size, service.profile, host=host, base_port=port, tls=authority)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error
    return asyncio.run(_serve(fleet, service, me, register, advertised, authority))


async def _serve(
    fleet: AnyFleet, service: Service, me: Rank, folder: Path, advertised: str, authority: Authority | None
) -> int:
    """Serve until told to stop. Returns the exit code: 1 when some servers have been lost for good."""
    whole = True
    async with told_to_stop() as stop, contextlib.AsyncExitStack() as stack:
        if await entered(stack, fleet, stop):
            endpoints = [dataclasses.replace(each, host=advertised) for each in fleet.endpoints]
            ca = None if authority is None else authority.pem
            path = stack.enter_context(registered(folder, me, job_of(os.environ), endpoints, ca))
            first = me.number * len(fleet)
            with findable(fleet, service, first=first) as control:
                servers = f"servers {first} to {first + len(fleet) - 1}"
                click.echo("\n".join([f"{me}: {servers} on {advertised}, in {path}", *control]))
                await stop.wait()
                whole = is_whole(fleet)
    figures = await figures_of(fleet)
    requests, connections = counted(figures.requests, "request"), counted(figures.opened, "connection")
    click.echo(f"rank {me.number}: stopped after {requests} on {connections}")
    return 0 if whole else 1
