"""What can go wrong with a fleet, as exceptions.

FleetError                      anything the fleet refuses or cannot do
├── BindError                   a port could not be bound; also an OSError
├── IllegalMoveError            a server was asked for a move its state does not allow
├── FaultError                  a fault was named, or given parameters, wrongly; also a ValueError
│   ├── EndingError             the same of an ending
│   └── RuleError               when a fault is to strike was said wrongly
├── PresetError                 no preset has that name; also a ValueError
├── ControlError                a running fleet could not be found, reached or driven
├── StuckRequestError           an answer kept running after it was cancelled
├── WebSocketClosedError        a message was to be sent on a websocket that is closed
└── LedgerTimeoutError          the ledger did not come to the wanted figures in time; also a TimeoutError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

__all__ = [
    "BindError",
    "ControlError",
    "EndingError",
    "FaultError",
    "FleetError",
    "IllegalMoveError",
    "LedgerTimeoutError",
    "PresetError",
    "RuleError",
    "StuckRequestError",
    "WebSocketClosedError",
]


class FleetError(Exception):
    """The root of every error the fleet raises of its own."""


class BindError(FleetError, OSError):
    """A server's port, or socket file, could not be bound. No server of the fleet is left listening.

    `host` and `port` say where; for a socket file `host` is its path and `port` None.
    """

    def __init__(self, host: str, port: int | None, reason: str) -> None:
        self.host, self.port, self.reason = host, port, reason
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type[Self], tuple[str, int | None, str]]:
        return type(self), (self.host, self.port, self.reason)  # for those that come from another process

    def __str__(self) -> str:
        where = self.host if self.port is None else f"{self.host} port {self.port}"
        return f"cannot listen on {where}: {self.reason}"


class IllegalMoveError(FleetError):
    """A server's state does not allow the move it was asked for; nothing has changed."""


class FaultError(FleetError, ValueError):
    """A fault's name or parameter is unknown, or a value is not what the parameter takes."""


class EndingError(FaultError):
    """An ending's name or parameter is unknown, or a value is not what the parameter takes."""


class RuleError(FaultError):
    """A rule's word is unknown, or a value is not what it takes, or no server is meant."""


class PresetError(FleetError, ValueError):
    """No preset has the name that was given."""


class ControlError(FleetError):
    """No fleet was found or reached, or the one there refused."""


class StuckRequestError(FleetError):
    """Requests were cancelled when their server closed, and had not stopped when the grace was over."""


class WebSocketClosedError(FleetError):
    """A websocket is closed, by whichever side: nothing can be sent on it any more."""


class LedgerTimeoutError(FleetError, TimeoutError):
    """The ledger did not come to the `wanted` figures in time; `present` is what it held when time was up."""

    def __init__(self, timeout: float, wanted: Mapping[str, int], present: Mapping[str, int]) -> None:
        self.timeout, self.wanted, self.present = timeout, dict(wanted), dict(present)
        super().__init__(f"after {timeout:g} s: wanted {_listed(wanted)}, have {_listed(present)}")

    def __reduce__(self) -> tuple[type[Self], tuple[float, dict[str, int], dict[str, int]]]:
        return type(self), (self.timeout, self.wanted, self.present)


def _listed(figures: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in figures.items())
