from __future__ import annotations

from functools import partial

import pytest

from fleetsim.lab import releasing
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.releasing import BREAK_AT_DONE, EAGER_EOF, UNREAD_EXIT
from fleetsim.lab.room import Room, visit


def test_a_response_is_released_by_its_eof_and_not_by_its_reader() -> None:
    account = visit(EAGER_EOF)
    assert account.problems == ()
    assert [row.connector for row in account.rows] == [
        "acquired 0, idle 1",
        "acquired 0, bytes read 64",
        "acquired 1, idle 1",
        "acquired 0, idle 2",
        "acquired 1, idle 2",
        "acquired 0, bytes read 8000000",
    ]


def test_an_exit_before_the_eof_closes_and_one_after_it_keeps() -> None:
    account = visit(UNREAD_EXIT)
    assert account.problems == ()
    assert account.conclusion == "connections opened: EOF met 1, EOF 20 ms away 2, read 1"
    assert account.rows[1].fleet == "opened 2, requests 2, closed by the client 2"


def test_stopping_at_done_costs_a_connection_per_stream_unless_it_is_drained() -> None:
    account = visit(BREAK_AT_DONE)
    assert account.problems == ()
    assert account.conclusion == "connections opened: last chunk with [DONE] 1, 20 ms later 4, later, and drained 1"


@pytest.mark.parametrize("room", [EAGER_EOF, UNREAD_EXIT, BREAK_AT_DONE], ids=lambda room: room.name)
def test_a_connector_that_keeps_nothing_comes_out_otherwise(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releasing, "ReadableConnector", partial(ReadableConnector, force_close=True))
    account = visit(room)
    assert account.problems
    assert any(row.why.startswith("It came out otherwise") for row in account.rows)
