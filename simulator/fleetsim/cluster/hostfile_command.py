"""`fleetsim hostfile`: the files of all ranks as one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from fleetsim.cluster.gather import Gathering, MissingRanksError
from fleetsim.cluster.ranks import job_of
from fleetsim.cluster.registry import read_registrations
from fleetsim.fleet_options import write_lines
from fleetsim.units import parse_duration

__all__ = ["hostfile"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--expect", type=click.IntRange(min=1), metavar="N", help="How many ranks. [as many as they say]")
@click.option("--wait", default="0s", metavar="TIME", help="For all to be there: 90s, 10m, or seconds. [0]")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Or standard output.")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With TLS: the certificates of all CAs.",
)
def hostfile(folder: Path, expect: int | None, wait: str, output: Path | None, ca_file: Path | None) -> int:
    """Wait for every rank of `fleetsim serve --register DIR`, and write one hostfile.

    Servers come in the order of their ranks. What is missing is told on standard error; the exit code is 1 when
    ranks are missing in the end.

    Example: fleetsim hostfile DIR --expect 128 --wait 600 > hosts.tsv
    """
    gathering = Gathering(
        partial(read_registrations, folder),
        time.monotonic,
        time.sleep,
        lambda line: click.echo(line, err=True),
        expect,
        job_of(os.environ),
    )
    try:
        registrations = gathering.run(seconds(wait))
    except MissingRanksError as error:
        click.echo(f"fleetsim hostfile: {folder}: {error}", err=True)
        return 1
    if ca_file is not None:
        authorities = [each.ca.decode() for each in registrations if each.ca is not None]
        if not authorities:
            raise click.UsageError("--ca-file: expected ranks of `fleetsim serve --tls`, and none speaks TLS")
        _write("--ca-file", ca_file, authorities)
    lines = [line for each in registrations for line in each.lines]
    if output is None:
        click.echo("".join(lines), nl=False)
    else:
        _write("--output", output, lines)
    return 0


def _write(option: str, path: Path, lines: Iterable[str]) -> None:
    try:
        write_lines(path, lines)
    except OSError as error:
        raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror}") from error


def seconds(text: str) -> float:
    """Return a duration in seconds; a number without a unit is one. Raises UsageError."""
    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise click.UsageError(f"--wait: {error}") from error
