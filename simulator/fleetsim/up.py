"""`fleetsim up`: a fleet for whatever client is at hand, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fleetsim.fleet import Fleet
from fleetsim.profile import Profile
from fleetsim.service import Service, counted, figures_of, findable, is_whole, service_options
from fleetsim.stopping import entered, told_to_stop
from fleetsim.units import format_duration

if TYPE_CHECKING:
    from fleetsim.service import AnyFleet

__all__ = ["up"]

_MOST_LISTED = 8


@click.command()
@click.argument("size", type=click.IntRange(min=1))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--base-port", type=int, metavar="PORT", help="First port, the others count on. [free ports]")
@click.option(
    "--unix-dir",
    type=click.Path(file_okay=False, resolve_path=True),
    metavar="DIR",
    help="Listen at socket files in it instead.",
)
@click.option("--hostfile", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it here.")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the CA's certificate here.",
)
@service_options
def up(
    size: int,
    host: str,
    base_port: int | None,
    unix_dir: str | None,
    hostfile: Path | None,
    ca_file: Path | None,
    **given: Any,
) -> int:
    """Run SIZE fake vLLM servers until Ctrl-C. Example: fleetsim up 8 --ttft 80ms"""
    ctx = click.get_current_context()
    service = Service.read(ctx, **given)
    if ca_file is not None and not service.profile.tls:
        raise click.UsageError("--ca-file: expected --tls with it", ctx)
    if hostfile is not None and unix_dir is not None:
        raise click.UsageError("--hostfile: expected no --unix-dir with it, for a hostfile has ports", ctx)
    try:
        fleet = service.maker("fleetsim up")(
            size, profile=service.profile, host=host, base_port=base_port, unix_dir=unix_dir
        )
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error
    return asyncio.run(_serve(fleet, service, hostfile, ca_file))


async def _serve(fleet: AnyFleet, service: Service, hostfile: Path | None, ca_file: Path | None) -> int:
    """Serve until told to stop. Returns the exit code: 1 when some servers have been lost for good."""
    whole = True
    async with told_to_stop() as stop, contextlib.AsyncExitStack() as stack:
        started = time.perf_counter()
        if await entered(stack, fleet, stop):
            took = time.perf_counter() - started
            with _written(fleet, hostfile, ca_file) as (path, ca), findable(fleet, service) as control:
                _announce(fleet, path, ca, took, control)
                await stop.wait()
                whole = is_whole(fleet)
    figures = await figures_of(fleet)
    _print(f"stopped after {counted(figures.requests, 'request')} on {counted(figures.opened, 'connection')}")
    return 0 if whole else 1


@contextlib.contextmanager
def _written(fleet: AnyFleet, hostfile: Path | None, ca_file: Path | None) -> Iterator[tuple[Path | None, Path | None]]:
    """Write the hostfile, and with TLS the CA, where they were asked for, to stay, or else where they go with the
    fleet."""
    with tempfile.TemporaryDirectory(prefix="fleetsim-") as folder:
        hosts = None
        if not fleet.paths:
            hosts = _write("--hostfile", fleet.hostfile, hostfile or Path(folder, "hosts.tsv"))
        ca = _write("--ca-file", fleet.ca_file, ca_file or Path(folder, "ca.pem")) if fleet.profile.tls else None
        yield hosts, ca


def _write(option: str, write: Callable[[Path], Path], path: Path) -> Path:
    try:
        return write(path)
    except OSError as error:
        raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror}") from error


def _announce(fleet: AnyFleet, hostfile: Path | None, ca: Path | None, took: float, control: list[str]) -> None:
    base = f"{fleet.urls[0]}/v1"
    trust = "" if ca is None else f"--cacert {shlex.quote(str(ca))} "
    at = f"--unix-socket {shlex.quote(str(fleet.paths[0]))} " if fleet.paths else ""
    body = '{"stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    lines = [
        f"{counted(len(fleet), 'fake vLLM server')} ready in {took * 1000:.0f} ms   {_described(fleet.profile)}",
        *(f"  {where}" for where in _listed([str(path) for path in fleet.paths] or fleet.base_urls)),
        *([] if hostfile is None else [f"hostfile  {hostfile}", _exported(base, fleet.profile)]),
        *([] if ca is None else [f"export SSL_CERT_FILE={shlex.quote(str(ca))}"]),
        f"try  curl -N {at}{trust}{base}/chat/completions {_headers(fleet.profile)}-d '{body}'",
        *control,
        *_shards(fleet),
        "Ctrl-C stops them.",
    ]
    _print("\n".join(lines))


def _exported(base: str, profile: Profile) -> str:
    key = "sim" if profile.api_key is None else "(the profile's api_key)"
    return f"export OPENAI_BASE_URL={base} OPENAI_API_KEY={key}"


def _shards(fleet: AnyFleet) -> list[str]:
    if isinstance(fleet, Fleet):
        return []
    return [f"process   {shard.pid}   {shard.span}" for shard in fleet.shards]


def _described(profile: Profile) -> str:
    idle = profile.keepalive_timeout
    facts = [
        f"model={profile.model}",
        f"ttft={format_duration(profile.ttft)}",
        f"itl={format_duration(profile.itl)}",
        f"keep-alive={'never ends' if idle is None else format_duration(idle)}",
        f"seed={profile.seed}",
    ]
    return "  ".join([*facts, f"ending={profile.ending}"] if profile.ending else facts)


def _listed(where: Sequence[str]) -> list[str]:
    if len(where) <= _MOST_LISTED:
        return list(where)
    all_in = "" if where[0].startswith("/") else ", all in the hostfile"  # which lists no socket files
    return [*where[: _MOST_LISTED - 2], f"... {len(where) - _MOST_LISTED + 1} more{all_in}", where[-1]]


def _headers(profile: Profile) -> str:
    json = "-H 'Content-Type: application/json' "
    return json if profile.api_key is None else json + '-H "Authorization: Bearer $OPENAI_API_KEY" '


def _print(text: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(text)
