"""The journal's records in words, for failures that show what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleetsim.records import ConnectionRecord, RequestRecord
from fleetsim.units import format_duration

__all__ = ["connection_in_words", "connections_in_words", "counted", "limited", "request_in_words"]

_SHOWN = 12


def counted(number: int, noun: str) -> str:
    """Return `1 request`, `2 requests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def limited(lines: Sequence[str], most: int = _SHOWN) -> list[str]:
    """Return at most `most` of the lines, and one that says how many more there are."""
    left = len(lines) - most
    return [*lines[:most], *([f"... and {left} more"] if left > 0 else [])]


def connections_in_words(records: Iterable[ConnectionRecord], requests: Iterable[RequestRecord]) -> list[str]:
    """Return for each connection where it led, what it carried and how it ended; `requests` say what is in flight."""
    busy = {request.connection: request for request in requests if request.ended_at is None}
    return [connection_in_words(record, busy.get(record.connection)) for record in records]


def connection_in_words(record: ConnectionRecord, serving: RequestRecord | None) -> str:
    """Return one connection in words; `serving` is the request in flight on it."""
    return (
        f"server {record.server}: connection {record.connection} from {record.peer}, "
        f"{counted(record.requests, 'request')}, {_state(record, serving)}"
    )


def _state(record: ConnectionRecord, serving: RequestRecord | None) -> str:
    if record.ended_at is not None:
        lived = format_duration(record.ended_at - record.opened_at)
        return f"ended by the {record.ended_by} ({record.ended_how}) after {lived}"
    return f"open, serving {serving.method} {serving.path}" if serving else "open, idle"


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


def _ordinal(number: int) -> str:
    last_two = number % 100
    suffix = "th" if 10 < last_two < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
