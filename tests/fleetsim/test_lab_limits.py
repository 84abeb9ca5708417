from __future__ import annotations

from functools import partial

import pytest

from fleetsim.lab import limits
from fleetsim.lab.limits import LIMIT_BYPASS, LIMIT_SOCKETS, LOST_WAKE_UP
from fleetsim.lab.reader import ReadableConnector
from fleetsim.lab.room import Room, visit


def test_idle_connections_are_taken_past_the_limit() -> None:
    account = visit(LIMIT_BYPASS)
    assert account.problems == ()
    assert account.conclusion == "limit: 2   in use: 4   in flight: 4"


def test_as_many_sockets_stay_open_as_servers_were_visited() -> None:
    account = visit(LIMIT_SOCKETS)
    assert account.problems == ()
    assert account.conclusion == "limit: 2   open sockets: 20"


def test_a_wake_up_given_to_a_cancelled_request_reaches_nobody_until_a_later_release() -> None:
    account = visit(LOST_WAKE_UP)
    assert account.problems == ()
    assert [row.connector for row in account.rows] == [
        "acquired 1, waiting 2",
        "acquired 0, waiting 1",
        "acquired 0, waiting 0",
    ]


@pytest.mark.parametrize("room", [LIMIT_BYPASS, LIMIT_SOCKETS], ids=lambda room: room.name)
def test_without_idle_connections_it_comes_out_otherwise(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ReadableConnector", partial(ReadableConnector, force_close=True))
    assert visit(room).problems


class WakesAll(ReadableConnector):
    """A connector that wakes everyone who waits, so that no wake-up can be lost."""

    def _release_waiter(self) -> None:
        for waiters in self._waiters.values():
            for waiter in list(waiters):
                if not waiter.done():
                    waiter.set_result(None)


def test_a_connector_that_loses_no_wake_up_comes_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ReadableConnector", WakesAll)
    assert visit(LOST_WAKE_UP).problems
