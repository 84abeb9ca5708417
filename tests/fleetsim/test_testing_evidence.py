from __future__ import annotations

import dataclasses

import pytest

from fleetsim import ConnectionRecord, RequestRecord, WebSocketRecord
from fleetsim.testing.evidence import (
    connections_in_words,
    counted,
    limited,
    request_in_words,
    websocket_in_words,
)

OPEN = ConnectionRecord(
    connection=3,
    server=1,
    peer="127.0.0.1:9",
    opened_at=1.0,
    requests=1,
    ended_at=None,
    ended_by=None,
    ended_how=None,
)
CLOSED = ConnectionRecord(
    connection=4,
    server=0,
    peer="127.0.0.1:8",
    opened_at=1.0,
    requests=2,
    ended_at=1.5,
    ended_by="server",
    ended_how="rst",
)


def request(**changes: object) -> RequestRecord:
    fields: dict[str, object] = {
        "number": 5,
        "server": 1,
        "connection": 3,
        "on_connection": 1,
        "method": "POST",
        "path": "/x",
        "arrived_at": 1.0,
        "status": None,
        "ending": None,
        "ended_at": None,
        "outcome": None,
    }
    return RequestRecord(**(fields | changes))  # type: ignore[arg-type]  # a record from changes by name


def test_a_connection_says_where_it_led_what_it_carried_and_how_it_ended() -> None:
    assert connections_in_words([OPEN, CLOSED], []) == [
        "server 1: connection 3 from 127.0.0.1:9, 1 request, open, idle",
        "server 0: connection 4 from 127.0.0.1:8, 2 requests, ended by the server (rst) after 500ms",
    ]
    (line,) = connections_in_words([OPEN], [request()])
    assert line.endswith("open, serving POST /x")


def test_a_websocket_says_what_it_carries_and_how_it_ended() -> None:
    still = WebSocketRecord(2, 1, 3, 5, "/echo", 1.0, 1, 2, None, None, None, None)
    (line,) = connections_in_words([OPEN], [still])
    assert line.endswith("open, a websocket at /echo, 1 message in and 2 out")
    assert websocket_in_words(still) == ("server 1: connection 3, websocket 2 at /echo, 1 message in and 2 out, open")
    closed = dataclasses.replace(still, ended_at=1.25, ended_by="client", ended_how="close", close_code=1000)
    assert websocket_in_words(closed).endswith(", ended by the client (close 1000) after 250ms")
    (line,) = connections_in_words([dataclasses.replace(CLOSED, connection=3)], [closed])
    assert line.endswith("ended by the server (rst) after 500ms, a websocket at /echo, 1 message in and 2 out")
    lost = dataclasses.replace(still, ended_at=1.25, ended_by="server", ended_how="rst")
    assert websocket_in_words(lost).endswith(", ended by the server (rst) after 250ms")


def test_a_request_says_what_became_of_it() -> None:
    assert request_in_words(request()) == "server 1: connection 3, request 5 (its 1st): POST /x, in flight"
    ended = request(ended_at=1.25, status=200, ending="reset", outcome="cut")
    assert request_in_words(ended).endswith("POST /x, status 200, cut after 250ms, ending reset")
    assert "no head sent, client_gone" in request_in_words(request(ended_at=2.0, outcome="client_gone"))


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (113, "113th")]
)
def test_ordinals_are_english(number: int, said: str) -> None:
    assert f"(its {said})" in request_in_words(request(on_connection=number))


def test_long_lists_say_how_much_is_left_out() -> None:
    assert limited(["a", "b", "c"], 2) == ["a", "b", "... and 1 more"]
    assert limited(["a", "b"], 2) == ["a", "b"]
    assert (counted(1, "line"), counted(0, "line")) == ("1 line", "0 lines")
