from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from swarmpool import ConnectionEvent, ConnectionPool
from swarmpool.connection_pool.events import EventKind, EventSink


async def test_events_are_numbered_without_gaps_and_cannot_be_changed() -> None:
    seen: list[ConnectionEvent] = []
    sink = EventSink(seen.append)
    sink.note(EventKind.DIALING, 1)
    sink.note(EventKind.FAILED, 1, error=OSError("at wss://user:secret@host"))
    assert [event.sequence for event in seen] == [1, 2]
    assert (seen[1].kind, seen[1].error) == ("failed", "OSError")
    assert "secret" not in repr(seen[1])
    with pytest.raises(FrozenInstanceError):
        seen[0].sequence = 9  # type: ignore[misc]  # that is the point


async def test_a_listener_that_raises_changes_nothing_and_is_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def listener(event: ConnectionEvent) -> None:
        raise KeyError(event.sequence)

    async def connect() -> object:
        return object()

    async with ConnectionPool[object](connect_cb=connect, on_event=listener) as pool:
        connection = await pool.get()
        pool.put(connection)
        assert await pool.get() is connection
        pool.put(connection)
    assert [record.getMessage() for record in caplog.records] == ["a listener of a connection pool raised KeyError"]


async def test_the_life_of_a_connection_told_by_its_events() -> None:
    seen: list[ConnectionEvent] = []

    async def connect() -> object:
        return object()

    async with ConnectionPool[object](connect_cb=connect, on_event=seen.append) as pool:
        async with pool.connection():
            pass
        pool.remove(await pool.get())
    told = [(event.kind.value, event.connection, event.caller, event.reused) for event in seen]
    assert told == [
        ("waiting", None, 1, None),
        ("dialing", 1, None, None),
        ("opened", 1, None, None),
        ("idle", 1, None, None),
        ("leased", 1, None, None),
        ("acquired", 1, 1, False),
        ("idle", 1, None, None),
        ("leased", 1, None, None),
        ("acquired", 1, None, True),
        ("closing", 1, None, None),
        ("closed", 1, None, None),
        ("pool_closing", None, None, None),
        ("pool_closed", None, None, None),
    ]
