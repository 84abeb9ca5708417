"""What a `Fleet` has and a fleet over several processes has not, for its servers are elsewhere; and what to do then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

__all__ = ["OF_FLEETS", "OF_LEDGERS", "SERVERS", "no_such_name"]

_FIGURES = "compare the figures of `await fleet.ledger.snapshot()`"
_JOURNAL = "each process has a journal of its own, which is not collected: use a Fleet, or the sums of `snapshot()`"
_PEAK = "the peak of a sum is not known: see the figures `..._at_most` of `await fleet.ledger.snapshot()`"
_WAIT = "wait with `await fleet.ledger.wait_for(...)`"
_ASK = "ask with `await fleet.ledger.snapshot()`"

OF_FLEETS: Mapping[str, str] = {
    "faults": "`await fleet.fault(...)`, `await fleet.rules()` and `await fleet.clear_faults()` are for all processes",
    "hold": "let answers wait by `await fleet.fault('stall', ...)`, or use a Fleet",
    "renew": "make a new one for the next user, or use a Fleet",
    "set_ending": "give `ending` to the constructor, or arm one by `await fleet.fault(...)`",
    **dict.fromkeys(("assert_reused", "assert_opened"), _FIGURES),
    "assert_all_closed": "`await fleet.ledger.wait_for(open_now=0)`",
    "assert_balanced": "compare what `await fleet.servers()` tells of each",
}

OF_LEDGERS: Mapping[str, str] = {
    **dict.fromkeys(("journal", "connection_records", "request_records", "websocket_records"), _JOURNAL),
    **dict.fromkeys(
        ("opened", "closed", "reused", "open_now", "requests", "in_flight", "requests_per_connection"), _ASK
    ),
    **dict.fromkeys(("websockets", "websockets_open", "messages_in", "messages_out", "dropped"), _ASK),
    **dict.fromkeys(("peak_open", "peak_in_flight", "peak_websockets"), _PEAK),
    "wait_for_sync": "`fleet.run(fleet.ledger.wait_for(...))`",
    **dict.fromkeys(("catch_up", "changed"), _WAIT),
}


SERVERS = (
    "servers of a ShardedFleet are in other processes: `await fleet.servers()` tells of them, and rules name one by "
    "`where={'server': 3}`"
)


def no_such_name(owner: object, name: str, instead: Mapping[str, str]) -> NoReturn:
    """Raise AttributeError, and say what to do where the same thing in one process has such a name."""
    sentence = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if name in instead:
        sentence += f", for its servers are in other processes: {instead[name]}"
    raise AttributeError(sentence, name=name, obj=owner)
