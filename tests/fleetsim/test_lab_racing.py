from __future__ import annotations

from functools import partial

import pytest

from fleetsim.lab import racing
from fleetsim.lab.racing import DESYNC, KEEPALIVE_RACE
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, visit


def test_a_get_is_repeated_and_a_post_is_not() -> None:
    account = visit(KEEPALIVE_RACE)
    assert account.problems == ()
    assert account.conclusion == "GET: 200, POST: ServerDisconnectedError, GET on a new connection: 200"
    assert [row.fleet for row in account.rows] == [
        "requests 3, opened 2",
        "requests 2, opened 1",
        "requests 2, opened 2",
    ]


def test_an_unsolicited_response_puts_every_later_answer_one_request_late() -> None:
    account = visit(DESYNC)
    assert account.problems == ()
    assert account.conclusion == "/one got /one, /two got STALE, /three got /two"
    assert account.rows[-1].fleet == "requests 3, opened 1"


@pytest.mark.parametrize("room", [DESYNC, KEEPALIVE_RACE], ids=lambda room: room.name)
def test_without_kept_connections_it_comes_out_otherwise(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "ReadableConnector", partial(ReadableConnector, force_close=True))
    assert visit(room).problems
