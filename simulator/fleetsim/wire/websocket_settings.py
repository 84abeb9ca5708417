"""A server's ways with websockets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

__all__ = ["DEFAULT_WEBSOCKETS", "WEBSOCKET_CHECKS", "WebSocketSettings", "is_sendable_code"]

_HIGHEST_SIZE = 2**31 - 1


def is_sendable_code(code: object) -> bool:
    """Whether a close frame may say `code` (RFC 6455, 7.4)."""
    return isinstance(code, int) and not isinstance(code, bool) and (code in _CODES or 3000 <= code < 5000)


_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _is_seconds_or_none(value: object) -> bool:
    return value is None or _is_seconds(value)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _HIGHEST_SIZE


_SECONDS = (_is_seconds_or_none, "seconds, as a number above 0, or null for never")
WEBSOCKET_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "session_deadline": _SECONDS,
    "idle_deadline": _SECONDS,
    "deadline_code": (is_sendable_code, "a close code such as 1001, or one from 3000 to 4999"),
    "ping_interval": _SECONDS,
    "ping_timeout": _SECONDS,
    "max_size": (_is_size, "a whole number of bytes of at least 1"),
}
"""By field: what accepts its values, and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """Seconds and bytes; None switches off. The defaults are uvicorn's (0.54 config.py).

    - `session_deadline`: after so long the server closes; `idle_deadline`: after so long without a message of the
      client's. Both close with `deadline_code`. uvicorn knows neither; gateways in front of it do (AWS API Gateway
      closes with 1001 after 10 minutes idle or 2 hours in all).
    - `ping_interval`: from the handshake, or a pong, to the server's next ping; `ping_timeout`: from there to a close
      with 1011 for want of a pong.
    - `max_size`: of a client's message; a longer one closes with 1009.

    Raises ValueError naming the field, the value and what was expected.
    """

    session_deadline: float | None = None
    idle_deadline: float | None = None
    deadline_code: int = 1001
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    max_size: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            accepts, expected = WEBSOCKET_CHECKS[field.name]
            value = getattr(self, field.name)
            if not accepts(value):
                raise ValueError(f"{field.name}: expected {expected}, got {value!r}")


DEFAULT_WEBSOCKETS = WebSocketSettings()
