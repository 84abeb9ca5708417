"""The matrix: client by claim, once several clients have been put to the proof."""

from __future__ import annotations

from collections.abc import Sequence

from fleetsim.proofs.report import Run

__all__ = ["matrix_lines", "matrix_rows"]


def matrix_rows(runs: Sequence[Run]) -> list[list[str]]:
    """A row per claim, its name and each client's verdict, under a row with the clients' names.

    The runs are of the same claims.
    """
    head = ["claim", *[run.client for run in runs]]
    by_claim = zip(*[run.claims for run in runs], strict=True)
    return [head, *[[results[0].name, *[result.verdict for result in results]] for results in by_claim]]


def matrix_lines(runs: Sequence[Run]) -> list[str]:
    """The matrix as plain lines of equal columns."""
    rows = matrix_rows(runs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
