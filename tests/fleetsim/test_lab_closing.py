from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fleetsim.lab import closing
from fleetsim.lab.closing import READER_HANGS, UNCLOSED
from fleetsim.lab.room import visit
from fleetsim.proofs.complaints import Complaints
from fleetsim.wire.endings import Eager


def test_a_reader_is_not_woken_by_close() -> None:
    account = visit(READER_HANGS)
    assert account.problems == ()
    assert account.conclusion == "reading before close(): still waiting   reading after close(): RuntimeError"
    assert [row.fleet for row in account.rows] == ["open 2, in flight 2", "open 0, in flight 0", "open 0, in flight 0"]


def test_a_reader_whose_body_ends_comes_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "Never", Eager)
    assert visit(READER_HANGS).problems


def test_each_way_of_not_closing_has_its_complaint() -> None:
    account = visit(UNCLOSED)
    assert account.problems == ()
    assert [row.connector for row in account.rows] == [
        "said Unclosed client session",
        "said Unclosed client session, Unclosed connector",
        "said nothing",
        "said nothing",
        "said Unclosed connection",
        "said nothing",
        "said Unclosed client session",
    ]


@pytest.mark.leaks
def test_complaints_that_go_unheard_come_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def deaf() -> Iterator[Complaints]:
        yield Complaints()

    monkeypatch.setattr(closing, "listening", deaf)
    assert "claimed Unclosed client session, found nothing" in visit(UNCLOSED).problems[0]


def test_the_garbage_collector_is_left_as_it_was() -> None:
    gc.disable()
    try:
        visit(UNCLOSED)
        assert not gc.isenabled()
    finally:
        gc.enable()
    visit(UNCLOSED)
    assert gc.isenabled()
