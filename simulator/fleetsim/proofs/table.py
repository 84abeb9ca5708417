"""The report for people: a table that grows while claims run, or plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fleetsim.proofs.claim import Claim, counted
from fleetsim.proofs.runner import Result

__all__ = ["Progress", "list_claims", "progress"]

STYLES = {"holds": "green", "fails": "bold red", "n/a": "dim"}


class Progress(Protocol):
    """Told of each claim as it starts and of its result."""

    def started(self, claim: Claim) -> None: ...
    def finished(self, result: Result) -> None: ...


class PlainProgress:
    """One line per result, and one more where it fails. For logs and pipes: nothing is ever rewritten."""

    def __init__(self, console: Console, client: str, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._print(f"client {client}, {counted(total, 'claim')}")

    def started(self, claim: Claim) -> None:
        """Nothing to say yet."""

    def finished(self, result: Result) -> None:
        """Print the result."""
        self._done += 1
        head = f"[{self._done:2}/{self._total}] {result.verdict:5} {result.name:18} {result.claim}"
        self._print(f"{head} | client: {result.client_figure} | fleet: {result.fleet_figure} | {result.seconds:.1f} s")
        if result.why:
            self._print(f"        why: {result.why}")

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class LiveProgress:
    """The table of results so far, with the claim now running under it."""

    def __init__(self, live: Live, client: str, total: int) -> None:
        self._live = live
        self._client = client
        self._total = total
        self._results: list[Result] = []

    def started(self, claim: Claim) -> None:
        """Show which claim runs."""
        place = f" {len(self._results) + 1}/{self._total}  {claim.name}: {claim.sentence}"
        self._live.update(Group(self._table(), Spinner("dots", Text(place))))

    def finished(self, result: Result) -> None:
        """Add the result."""
        self._results.append(result)
        self._live.update(self._table())

    def _table(self) -> Table:
        return result_table(self._client, self._results)


def result_table(client: str, results: Sequence[Result]) -> Table:
    """Claim, verdict, client's figure, fleet's figure, seconds; the reason of a failure under its claim."""
    table = Table(title=f"client: {client}", title_justify="left", expand=True, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("claim", ratio=5)
    table.add_column("verdict", no_wrap=True)
    table.add_column("client's figure", ratio=3)
    table.add_column("fleet's figure", ratio=3)
    table.add_column("s", justify="right", no_wrap=True)
    for result in results:
        figures = (Text(result.client_figure), Text(result.fleet_figure), f"{result.seconds:.1f}")
        table.add_row(_claim_cell(result), Text(result.verdict, STYLES[result.verdict]), *figures)
    return table


def _claim_cell(result: Result) -> Text:
    cell = Text.assemble((f"{result.name}  ", "bold"), result.claim)
    if result.why:
        cell.append(f"\n{result.why}", STYLES[result.verdict])
    return cell


@contextmanager
def progress(console: Console, client: str, total: int) -> Iterator[Progress]:
    """Progress of one client's run on `console`: live on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainProgress(console, client, total)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield LiveProgress(live, client, total)


def list_claims(console: Console, claims: Sequence[Claim]) -> None:
    """Print the claims, one per line: number, name and sentence."""
    width = max(len(claim.name) for claim in claims)
    for number, claim in enumerate(claims, 1):
        console.print(Text(f"{number:2}  {claim.name:{width}}  {claim.sentence}"), soft_wrap=True)
