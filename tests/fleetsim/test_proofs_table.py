from __future__ import annotations

import io

from rich.console import Console

from fleetsim.proofs.claim import Claim, Stage
from fleetsim.proofs.runner import Result
from fleetsim.proofs.table import list_claims, progress

FAILS = Result("two", "Two [sic] claims.", "fails", "1 opened", "2 opened", 1.5, "2 opened, not 1")


async def nothing(stage: Stage) -> None: ...


CLAIM = Claim("two", "Two [sic] claims.", nothing)


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    with progress(console, "mine", 1) as live:
        live.started(CLAIM)
        live.finished(FAILS)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_there_is_one_plain_line_per_result_and_one_for_its_reason() -> None:
    assert shown(terminal=False).splitlines() == [
        "client mine, 1 claim",
        "[ 1/1] fails two                Two [sic] claims. | client: 1 opened | fleet: 2 opened | 1.5 s",
        "        why: 2 opened, not 1",
    ]


def test_on_a_terminal_there_is_a_table_and_the_running_claim_under_it() -> None:
    text = shown(terminal=True)
    for word in (
        "client: mine",
        "verdict",
        "client's figure",
        "fleet's figure",
        "fails",
        "2 opened, not 1",
        "Two [sic]",
    ):
        assert word in text


def test_the_list_has_one_line_per_claim() -> None:
    console = Console(file=io.StringIO(), width=20)
    list_claims(console, [CLAIM])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == " 1  two  Two [sic] claims.\n"
