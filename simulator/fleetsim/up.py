"""`fleetsim up`: a fleet for whatever client is at hand, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from fleetsim.control.running import announced
from fleetsim.fleet import Fleet
from fleetsim.profile import Profile
from fleetsim.settings import Processes, described_profile, profile_options
from fleetsim.stopping import entered, told_to_stop
from fleetsim.units import format_duration

if TYPE_CHECKING:
    from fleetsim.shards.fleet import ShardedFleet

    AnyFleet = Fleet | ShardedFleet

__all__ = ["up"]

_MOST_LISTED = 8


@click.command()
@click.argument("size", type=click.IntRange(min=1))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--base-port", type=int, metavar="PORT", help="First port, the others count on. [free ports]")
@click.option("--hostfile", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it here.")
@profile_options
@click.option("--tls", is_flag=True, help="Speak TLS, by a CA made at the start.")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write that CA's certificate here.",
)
@click.option(
    "--processes", type=Processes(), metavar="N[:restart]", help="Spread over N; 2:restart renews a killed one."
)
@click.option("--control", type=int, metavar="PORT", help="Where `fleetsim fault` drives it; 0: free port.")
@click.option("--control-token", envvar="FLEETSIM_CONTROL_TOKEN", metavar="TEXT", help="Needed to drive it, on --host.")
def up(
    size: int,
    host: str,
    base_port: int | None,
    hostfile: Path | None,
    profile: str | None,
    jitter: dict[str, Any] | None,
    ca_file: Path | None,
    control: int | None,
    control_token: str | None,
    processes: tuple[int, bool] | None,
    **settings: Any,
) -> int:
    """Run SIZE fake vLLM servers until Ctrl-C. Example: fleetsim up 8 --ttft 80ms"""
    ctx = click.get_current_context()
    described = described_profile(ctx, profile, jitter, settings)
    if ca_file is not None and not described.tls:
        raise click.UsageError("--ca-file: expected --tls with it", ctx)
    if control is None and ctx.get_parameter_source("control_token") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--control-token: expected --control with it", ctx)
    token = None if control is None else control_token  # which may be in the environment for other commands
    options: dict[str, Any] = {
        "profile": described,
        "host": host,
        "base_port": base_port,
        "control_port": control,
        "control_token": token,
    }
    try:
        fleet = Fleet(size, **options) if processes is None else _sharded(size, *processes, options)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error
    return asyncio.run(_serve(fleet, hostfile, ca_file, driven=control is not None, token=token))


def _sharded(size: int, processes: int, restart: bool, options: dict[str, Any]) -> ShardedFleet:
    from fleetsim.shards.fleet import ShardedFleet  # noqa: PLC0415 (a fleet in this process starts without it)

    def report(line: str) -> None:
        click.echo(f"fleetsim up: {line}", err=True)

    return ShardedFleet(size, processes=processes, restart_shards=restart, report=report, **options)


async def _serve(
    fleet: AnyFleet, hostfile: Path | None, ca_file: Path | None, *, driven: bool, token: str | None
) -> int:
    """Serve until told to stop. Returns the exit code: 1 when some servers have been lost for good."""
    whole = True
    async with told_to_stop() as stop, contextlib.AsyncExitStack() as stack:
        started = time.perf_counter()
        if await entered(stack, fleet, stop):
            took = time.perf_counter() - started
            with _written(fleet, hostfile, ca_file) as (path, ca), _findable(fleet, driven, token) as control:
                _announce(fleet, path, ca, took, control)
                await stop.wait()
                whole = isinstance(fleet, Fleet) or fleet.is_whole
    figures = fleet.ledger.snapshot() if isinstance(fleet, Fleet) else await fleet.ledger.snapshot()
    _print(f"stopped after {_counted(figures.requests, 'request')} on {_counted(figures.opened, 'connection')}")
    return 0 if whole else 1


@contextlib.contextmanager
def _written(fleet: AnyFleet, hostfile: Path | None, ca_file: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Write the hostfile, and with TLS the CA, where they were asked for, to stay, or else where they go with the
    fleet."""
    with tempfile.TemporaryDirectory(prefix="fleetsim-") as folder:
        hosts = _write("--hostfile", fleet.hostfile, hostfile or Path(folder, "hosts.tsv"))
        ca = _write("--ca-file", fleet.ca_file, ca_file or Path(folder, "ca.pem")) if fleet.profile.tls else None
        yield hosts, ca


def _write(option: str, write: Callable[[Path], Path], path: Path) -> Path:
    try:
        return write(path)
    except OSError as error:
        raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _findable(fleet: AnyFleet, driven: bool, token: str | None) -> Iterator[list[str]]:
    """Let `fleetsim fault` find the fleet while it runs, if it is driven; the lines to print are yielded."""
    if not driven:
        yield []
        return
    with announced(fleet.control_url, size=len(fleet), token=token):
        yield [f"control   {fleet.control_url}   try  fleetsim fault reset --server 0 --for 10s"]


def _announce(fleet: AnyFleet, hostfile: Path, ca: Path | None, took: float, control: list[str]) -> None:
    key = "sim" if fleet.profile.api_key is None else "(the profile's api_key)"
    trust = "" if ca is None else f"--cacert {shlex.quote(str(ca))} "
    body = '{"stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    lines = [
        f"{_counted(len(fleet), 'fake vLLM server')} ready in {took * 1000:.0f} ms   {_described(fleet.profile)}",
        *(f"  {url}" for url in _listed(fleet.base_urls)),
        f"hostfile  {hostfile}",
        f"export OPENAI_BASE_URL={fleet.base_urls[0]} OPENAI_API_KEY={key}",
        *([] if ca is None else [f"export SSL_CERT_FILE={shlex.quote(str(ca))}"]),
        f"try  curl -N {trust}{fleet.base_urls[0]}/chat/completions {_headers(fleet.profile)}-d '{body}'",
        *control,
        *_shards(fleet),
        "Ctrl-C stops them.",
    ]
    _print("\n".join(lines))


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


def _listed(urls: tuple[str, ...]) -> list[str]:
    if len(urls) <= _MOST_LISTED:
        return list(urls)
    return [*urls[: _MOST_LISTED - 2], f"... {len(urls) - _MOST_LISTED + 1} more, all in the hostfile", urls[-1]]


def _headers(profile: Profile) -> str:
    json = "-H 'Content-Type: application/json' "
    return json if profile.api_key is None else json + '-H "Authorization: Bearer $OPENAI_API_KEY" '


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number:,} {thing}s"


def _print(text: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(text)
