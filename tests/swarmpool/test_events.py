from __future__ import annotations

import logging

import pytest

from swarmpool.events import PoolEvent, PoolEventKind, PoolEvents
from swarmpool.responses import FailureKind


def test_events_are_numbered_and_counted() -> None:
    seen: list[PoolEvent] = []
    events = PoolEvents(seen.append)
    events.note(PoolEventKind.EJECTED, 3, "http://node3:8000", 1.5)
    events.note(PoolEventKind.RETRIED, 3, "http://node3:8000", 2.0, failure=FailureKind.CONNECT, seconds=0.1)
    assert [event.sequence for event in seen] == [1, 2]
    assert seen[1] == PoolEvent(2, 2.0, PoolEventKind.RETRIED, 3, "http://node3:8000", FailureKind.CONNECT, 0.1)
    assert (events.counts[PoolEventKind.EJECTED], events.counts[PoolEventKind.RETURNED]) == (1, 0)


def test_without_a_listener_they_are_counted_all_the_same() -> None:
    events = PoolEvents(None)
    events.note(PoolEventKind.HEDGED, 0, "", 0.0)
    assert events.counts[PoolEventKind.HEDGED] == 1


def test_a_listener_that_raises_changes_nothing_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: PoolEvent) -> None:
        raise ValueError("secret")

    events = PoolEvents(broken)
    with caplog.at_level(logging.WARNING, "swarmpool"):
        for _ in range(3):
            events.note(PoolEventKind.RETRIED, 0, "", 0.0)
    assert [record.getMessage() for record in caplog.records] == ["a listener of a pool raised ValueError"]
    assert events.sequence == 3
