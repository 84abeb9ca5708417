from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.client import BUILT_IN
from fleetsim.proofs.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"


def result(name: str, verdict: str, *, figure: str = "1 opened", why: str = "") -> dict[str, Any]:
    return {"name": name, "claim": f"The claim {name}.", "verdict": verdict, "client_figure": figure, "why": why}


def report(**clients: list[dict[str, Any]]) -> dict[str, Any]:
    runs = [{"client": name, "version": f"{name} 1.0", "claims": claims} for name, claims in clients.items()]
    return {"seed": 7, "python": "3.11.7", "runs": runs}


def table(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_matrix_has_a_row_per_claim_and_a_column_per_client() -> None:
    text = page(
        report(
            mine=[result("one", "holds"), result("two", "n/a")], yours=[result("one", "fails"), result("two", "holds")]
        )
    )
    assert table(text) == [
        ["claim", "mine", "yours"],
        ["**one** The claim one.", "holds", "fails"],
        ["**two** The claim two.", "n/a", "holds"],
    ]
    assert "- **mine**: mine 1.0\n" in text
    assert "--seed 7`, Python 3.11.7:" in text


def test_a_claim_over_cells_that_fails_says_how_many_were_right() -> None:
    text = page(report(mine=[result("faults-head", "fails", figure="47 of 48 cells right", why="one was not")]))
    assert table(text)[1][1] == "fails: 47 of 48"


def test_each_failure_has_its_reason_in_one_line_below() -> None:
    text = page(report(mine=[result("one", "fails", why="first `line`\nsecond" + " x" * 400), result("two", "holds")]))
    (line,) = [line for line in text.splitlines() if line.startswith("- **one**")]
    assert line.startswith("- **one**: `first 'line' second x x")
    assert line.endswith("...`")
    assert "## Why mine fails" in text


def test_a_client_that_fails_nothing_has_no_reasons() -> None:
    assert "Why" not in page(report(mine=[result("one", "holds")]))


def test_the_page_of_the_documentation_has_todays_claims_and_clients() -> None:
    """If it has not: python docs/clients.py. What other people's clients are worth today is not for a test to say."""
    head, *rows = table(PAGE.read_text(encoding="utf-8"))
    assert head == ["claim", *sorted([*BUILT_IN, "swarmpool"])]
    names = [re.match(r"\*\*([\w-]+)\*\*", row[0]) for row in rows]
    assert [name and name[1] for name in names] == [claim.name for claim in CLAIMS]


def test_the_page_says_that_swarmpool_keeps_every_promise() -> None:
    _, *rows = table(PAGE.read_text(encoding="utf-8"))
    assert {row[-1] for row in rows} == {"holds"}
