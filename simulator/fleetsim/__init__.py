"""Fleets of fake vLLM servers that keep a ledger of every connection."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fleetsim.extra import missing_extra

if TYPE_CHECKING:
    from fleetsim.errors import (
        BindError,
        EndingError,
        FleetError,
        IllegalMoveError,
        LedgerTimeoutError,
        StuckRequestError,
    )
    from fleetsim.exchange import Answer, ApiRequest, EventStream, Reply, Unary
    from fleetsim.fleet import Fleet
    from fleetsim.hold import Hold
    from fleetsim.ledger import Ledger, LedgerSnapshot
    from fleetsim.profile import Profile, ProfileError
    from fleetsim.records import ConnectionRecord, RequestRecord
    from fleetsim.server import FakeVLLMServer, FleetEndpoint, ServerState
    from fleetsim.wire.endings import Ending, ending_names, parse_ending

__all__ = [
    "Answer",
    "ApiRequest",
    "BindError",
    "ConnectionRecord",
    "Ending",
    "EndingError",
    "EventStream",
    "FakeVLLMServer",
    "Fleet",
    "FleetEndpoint",
    "FleetError",
    "Hold",
    "IllegalMoveError",
    "Ledger",
    "LedgerSnapshot",
    "LedgerTimeoutError",
    "Profile",
    "ProfileError",
    "Reply",
    "RequestRecord",
    "ServerState",
    "StuckRequestError",
    "Unary",
    "ending_names",
    "parse_ending",
]

_HOMES = {
    "fleetsim.errors": (
        "BindError",
        "EndingError",
        "FleetError",
        "IllegalMoveError",
        "LedgerTimeoutError",
        "StuckRequestError",
    ),
    "fleetsim.exchange": ("Answer", "ApiRequest", "EventStream", "Reply", "Unary"),
    "fleetsim.fleet": ("Fleet",),
    "fleetsim.hold": ("Hold",),
    "fleetsim.ledger": ("Ledger", "LedgerSnapshot"),
    "fleetsim.profile": ("Profile", "ProfileError"),
    "fleetsim.records": ("ConnectionRecord", "RequestRecord"),
    "fleetsim.server": ("FakeVLLMServer", "FleetEndpoint", "ServerState"),
    "fleetsim.wire.endings": ("Ending", "ending_names", "parse_ending"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    # Late, so that the `fleetsim` command can start, and say what to install, where the extra is missing.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value: object = getattr(import_module(_HOME_OF[name]), name)
    except ModuleNotFoundError as error:
        said = missing_extra(error)
        if said is None:
            raise
        raise ModuleNotFoundError(said, name=error.name, path=error.path) from error
    globals()[name] = value
    return value
