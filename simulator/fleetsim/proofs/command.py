"""`fleetsim prove`: the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from fleetsim.proofs.claim import Claim
from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.client import Client, ClientError, MissingClientError, client_names, load_client, version_of
from fleetsim.proofs.matrix import matrix_lines
from fleetsim.proofs.report import Run, as_json, failed, summary
from fleetsim.proofs.runner import run_claims
from fleetsim.proofs.table import list_claims, progress

__all__ = ["prove"]

ALL = "all"
GROUP = "faults"


@click.command(epilog="Exit status: 0 all claims hold, 1 a claim fails, 2 bad input.")
@click.option(
    "--client", "names", multiple=True, metavar="NAME", help="Client to prove, or all; repeatable [swarmpool]."
)
@click.option(
    "--only", multiple=True, metavar="CLAIM", help="Run this claim only: its name or number, or faults; repeatable."
)
@click.option("--list", "listing", is_flag=True, help="List the claims and the clients, and stop.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of texts, choices and delays.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there too.")
def prove(names: tuple[str, ...], only: tuple[str, ...], listing: bool, seed: int, report: Path | None) -> None:
    """Prove a client's claims about its connections against a fleet.

    Each claim is a scenario that would break it; the verdict rests on what the client counted and what the fleet saw.

    \b
    Example: fleetsim prove --client swarmpool --client aiohttp
             fleetsim prove --client all
    """
    console = Console(highlight=False)
    if listing:
        list_claims(console, CLAIMS)
        console.print(f"clients: {', '.join([*client_names(), ALL])}")
        return
    claims = chosen_claims(only)
    clients = chosen_clients(console, names or ("swarmpool",))
    check_writable(report)
    runs = [prove_client(console, client, claims, seed) for client in clients]
    if len(runs) > 1:
        console.print("\n".join(["", *matrix_lines(runs)]), soft_wrap=True)
    if report is not None:
        report.write_text(as_json(seed, runs), encoding="utf-8")
    if failed(runs):
        click.get_current_context().exit(1)


def prove_client(console: Console, client: Client, claims: Sequence[Claim], seed: int) -> Run:
    """Run `claims` for one client with progress on `console`, and print the summary line."""
    results = []
    with progress(console, client.name, len(claims)) as shown:
        for result in run_claims(client, claims, seed, started=shown.started):
            results.append(result)
            shown.finished(result)
    run = Run(client.name, results, version_of(client))
    console.print(summary(run, seed), soft_wrap=True)
    return run


def chosen_claims(only: Sequence[str]) -> Sequence[Claim]:
    """The claims that `--only` has by name or number, in their own order; all if there is none."""
    wanted = {name for part in only for word in part.split(",") if word for name in claim_names(word)}
    return [claim for claim in CLAIMS if claim.name in wanted or not wanted]


def claim_names(word: str) -> list[str]:
    """The claims that `word` means: one by its name or its number in `--list`, or `faults` for all `faults-...`."""
    names = [claim.name for claim in CLAIMS]
    numbered = {str(number): name for number, name in enumerate(names, 1)}
    group = [name for name in names if word == GROUP and name.startswith(f"{GROUP}-")]
    meant = group or [name for name in names if name in (word, numbered.get(word))]
    if meant:
        return meant
    raise click.BadParameter(
        f"no claim {word!r}: expected 1 to {len(names)}, {GROUP}, or one of {', '.join(names)}", param_hint="--only"
    )


def chosen_clients(console: Console, names: Sequence[str]) -> list[Client]:
    """The adapters called `names`; for `all` every one whose packages are installed, the others told of."""
    try:
        named = {name: load_client(name) for name in names if name != ALL}
        return list((named | (installed_clients(console) if ALL in names else {})).values())
    except ClientError as error:
        raise click.BadParameter(str(error), param_hint="--client") from error


def installed_clients(console: Console) -> dict[str, Client]:
    """Every client there is, by name; a line on `console` for each that is not installed."""
    clients = {}
    for name in client_names():
        try:
            clients[name] = load_client(name)
        except MissingClientError as error:
            console.print(f"left out: {error}", soft_wrap=True, markup=False)
    return clients


def check_writable(report: Path | None) -> None:
    """Complain about an unwritable report before a minute of work, not after it."""
    if report is None:
        return
    try:
        report.open("a", encoding="utf-8").close()
    except OSError as error:
        raise click.BadParameter(f"cannot write {report}: {error.strerror}", param_hint="--json") from error
