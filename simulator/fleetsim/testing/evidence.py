"""The journal's records in words, for failures that show what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleetsim.records import ConnectionRecord, RequestRecord, WebSocketRecord
from fleetsim.units import format_duration

__all__ = [
    "Carried",
    "connection_in_words",
    "connections_in_words",
    "counted",
    "limited",
    "request_in_words",
    "serving_by_connection",
    "websocket_in_words",
]

Carried = RequestRecord | WebSocketRecord
"""What tells what a connection is there for: a request in flight on it, or the websocket that it became."""

_SHOWN = 12


def counted(number: int, noun: str) -> str:
    """Return `1 request`, `2 requests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def limited(lines: Sequence[str], most: int = _SHOWN) -> list[str]:
    """Return at most `most` of the lines, and one that says how many more there are."""
    left = len(lines) - most
    return [*lines[:most], *([f"... and {left} more"] if left > 0 else [])]


def connections_in_words(records: Iterable[ConnectionRecord], carried: Iterable[Carried]) -> list[str]:
    """Return for each connection where it led, what it carried and how it ended; `carried` are those of them all."""
    serving = serving_by_connection(carried)
    return [connection_in_words(record, serving.get(record.connection)) for record in records]


def serving_by_connection(carried: Iterable[Carried]) -> dict[int, Carried]:
    """Return by connection what it is there for; nothing for one that is idle, or has ended, without a websocket."""
    return {each.connection: each for each in carried if each.ended_at is None or isinstance(each, WebSocketRecord)}


def connection_in_words(record: ConnectionRecord, serving: Carried | None) -> str:
    """Return one connection in words; `serving` is the request in flight on it, or its websocket."""
    return (
        f"server {record.server}: connection {record.connection} from {record.peer}, "
        f"{counted(record.requests, 'request')}, {_state(record, serving)}"
    )


def _state(record: ConnectionRecord, serving: Carried | None) -> str:
    websocket = f", a websocket at {serving.path}, {_messages(serving)}" if isinstance(serving, WebSocketRecord) else ""
    if record.ended_at is not None:
        lived = format_duration(record.ended_at - record.opened_at)
        return f"ended by the {record.ended_by} ({record.ended_how}) after {lived}{websocket}"
    if serving is None or isinstance(serving, WebSocketRecord):
        return f"open{websocket or ', idle'}"
    return f"open, serving {serving.method} {serving.path}"


def _messages(record: WebSocketRecord) -> str:
    return f"{counted(record.messages_in, 'message')} in and {record.messages_out} out"


def request_in_words(record: RequestRecord) -> str:
    """Return what was asked on which connection, and what became of it."""
    asked = (
        f"server {record.server}: connection {record.connection}, request {record.number} "
        f"(its {_ordinal(record.on_connection)}): {record.method} {record.path}"
    )
    if record.ended_at is None:
        return f"{asked}, in flight"
    status = "no head sent" if record.status is None else f"status {record.status}"
    ending = f", ending {record.ending}" if record.ending else ""
    return f"{asked}, {status}, {record.outcome} after {format_duration(record.ended_at - record.arrived_at)}{ending}"


def websocket_in_words(record: WebSocketRecord) -> str:
    """Return which websocket it was, what it carried, and how it ended."""
    carried = (
        f"server {record.server}: connection {record.connection}, websocket {record.number} at {record.path}, "
        f"{_messages(record)}"
    )
    if record.ended_at is None:
        return f"{carried}, open"
    code = "" if record.close_code is None else f" {record.close_code}"
    lived = format_duration(record.ended_at - record.opened_at)
    return f"{carried}, ended by the {record.ended_by} ({record.ended_how}{code}) after {lived}"


def _ordinal(number: int) -> str:
    last_two = number % 100
    suffix = "th" if 10 < last_two < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
