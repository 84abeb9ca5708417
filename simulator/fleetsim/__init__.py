"""Fleets of fake vLLM servers that keep a ledger of every connection."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fleetsim.extra import missing_extra

if TYPE_CHECKING:
    from fleetsim.errors import (
        BindError,
        ControlError,
        EndingError,
        FaultError,
        FleetError,
        IllegalMoveError,
        LedgerTimeoutError,
        RuleError,
        StuckRequestError,
        WebSocketClosedError,
    )
    from fleetsim.exchange import Answer, ApiRequest, EventStream, Reply, Unary, WebSocket, WebSocketEnd
    from fleetsim.faults.catalogue import Fault, fault_names, parse_fault
    from fleetsim.faults.rules import ArmedRule, Rule
    from fleetsim.faults.scripts import Script
    from fleetsim.faults.where import Where
    from fleetsim.fleet import Fleet
    from fleetsim.hold import Hold
    from fleetsim.ledger import Ledger, LedgerSnapshot
    from fleetsim.profile import Profile, ProfileError
    from fleetsim.records import ConnectionRecord, RequestRecord, WebSocketRecord
    from fleetsim.server import FakeVLLMServer, FleetEndpoint, ServerState
    from fleetsim.shards.fleet import ShardedFleet
    from fleetsim.shards.ledger import ShardedSnapshot
    from fleetsim.shards.sharded_rule import RuleAccount
    from fleetsim.wire.endings import Ending, ending_names, parse_ending

__all__ = [
    "Answer",
    "ApiRequest",
    "ArmedRule",
    "BindError",
    "ConnectionRecord",
    "ControlError",
    "Ending",
    "EndingError",
    "EventStream",
    "FakeVLLMServer",
    "Fault",
    "FaultError",
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
    "Rule",
    "RuleAccount",
    "RuleError",
    "Script",
    "ServerState",
    "ShardedFleet",
    "ShardedSnapshot",
    "StuckRequestError",
    "Unary",
    "WebSocket",
    "WebSocketClosedError",
    "WebSocketEnd",
    "WebSocketRecord",
    "Where",
    "ending_names",
    "fault_names",
    "parse_ending",
    "parse_fault",
]

_HOMES = {
    "fleetsim.errors": (
        "BindError",
        "ControlError",
        "EndingError",
        "FaultError",
        "FleetError",
        "IllegalMoveError",
        "LedgerTimeoutError",
        "RuleError",
        "StuckRequestError",
        "WebSocketClosedError",
    ),
    "fleetsim.exchange": ("Answer", "ApiRequest", "EventStream", "Reply", "Unary", "WebSocket", "WebSocketEnd"),
    "fleetsim.faults.catalogue": ("Fault", "fault_names", "parse_fault"),
    "fleetsim.faults.rules": ("ArmedRule", "Rule"),
    "fleetsim.faults.scripts": ("Script",),
    "fleetsim.faults.where": ("Where",),
    "fleetsim.fleet": ("Fleet",),
    "fleetsim.hold": ("Hold",),
    "fleetsim.ledger": ("Ledger", "LedgerSnapshot"),
    "fleetsim.profile": ("Profile", "ProfileError"),
    "fleetsim.records": ("ConnectionRecord", "RequestRecord", "WebSocketRecord"),
    "fleetsim.server": ("FakeVLLMServer", "FleetEndpoint", "ServerState"),
    "fleetsim.shards.fleet": ("ShardedFleet",),
    "fleetsim.shards.ledger": ("ShardedSnapshot",),
    "fleetsim.shards.sharded_rule": ("RuleAccount",),
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
