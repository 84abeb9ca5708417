from __future__ import annotations

import pytest

from fleetsim.proofs.matrix import matrix_lines, matrix_rows
from fleetsim.proofs.report import Run
from fleetsim.proofs.runner import Result, Verdict


def run(client: str, **verdicts: Verdict) -> Run:
    return Run(client, [Result(name, "A claim.", verdict, "-", "-", 0.0, "") for name, verdict in verdicts.items()])


RUNS = [run("mine", one="holds", two="n/a"), run("another", one="fails", two="holds")]


def test_there_is_a_row_per_claim_and_a_column_per_client() -> None:
    assert matrix_rows(RUNS) == [["claim", "mine", "another"], ["one", "holds", "fails"], ["two", "n/a", "holds"]]


def test_the_columns_stand_under_their_clients() -> None:
    assert matrix_lines(RUNS) == ["claim  mine   another", "one    holds  fails", "two    n/a    holds"]


def test_runs_of_different_claims_are_no_matrix() -> None:
    with pytest.raises(ValueError, match="zip"):
        matrix_rows([run("mine", one="holds"), run("another", one="holds", two="holds")])
