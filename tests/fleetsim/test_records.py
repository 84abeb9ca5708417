from __future__ import annotations

import dataclasses

import msgspec
import pytest

from fleetsim.records import (
    ConnectionLine,
    ConnectionRecord,
    RequestLine,
    RequestRecord,
    WebSocketLine,
    WebSocketRecord,
)


def test_a_record_is_the_line_as_it_is_now() -> None:
    line = ConnectionLine(7, 2, "127.0.0.1:5", 1.0)
    before = line.record()
    line.requests, line.ended_at, line.ended_by, line.ended_how = 3, 2.0, "client", "rst"
    assert before == ConnectionRecord(7, 2, "127.0.0.1:5", 1.0, 0, None, None, None)
    assert line.record() == ConnectionRecord(7, 2, "127.0.0.1:5", 1.0, 3, 2.0, "client", "rst")


def test_the_record_of_a_request_is_its_line_field_by_field() -> None:
    line = RequestLine(9, 2, 7, 4, "GET", "/", 1.5)
    before = line.record()
    line.status, line.ending, line.ended_at, line.outcome = 200, "split", 2.5, "complete"
    assert before == RequestRecord(9, 2, 7, 4, "GET", "/", 1.5, None, None, None, None)
    assert dataclasses.asdict(line.record()) == msgspec.structs.asdict(line)


def test_the_record_of_a_websocket_is_its_line_field_by_field() -> None:
    line = WebSocketLine(1, 2, 7, 9, "/echo", 1.5)
    before = line.record()
    line.messages_in, line.ended_at, line.ended_by, line.ended_how, line.close_code = 3, 2.5, "client", "close", 1000
    assert before == WebSocketRecord(1, 2, 7, 9, "/echo", 1.5, 0, 0, None, None, None, None)
    assert dataclasses.asdict(line.record()) == msgspec.structs.asdict(line)


def test_a_record_cannot_be_changed() -> None:
    record = ConnectionLine(7, 2, "127.0.0.1:5", 1.0).record()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.requests = 1  # type: ignore[misc]  # the point
