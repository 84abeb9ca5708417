"""What a listener and its connections look up anew for every request: all of it may change while they run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TYPE_CHECKING

from fleetsim.exchange import Answer
from fleetsim.hold import Hold
from fleetsim.wire.endings import DEFAULT_ENDING, Ending
from fleetsim.wire.websocket_settings import DEFAULT_WEBSOCKETS, WebSocketSettings

if TYPE_CHECKING:
    from fleetsim.faults.catalogue import Rules

__all__ = ["WireSettings", "check_keepalive_timeout"]


@dataclass(slots=True, eq=False)
class WireSettings:
    """`ending_header` None honours the request headers X-Fleet-Fault and X-Fleet-Ending from loopback addresses
    alone.

    `keepalive_timeout` is in seconds; None never closes an idle connection. `draining`: every response is the last one
    on its connection. `rules` None chooses no faults. `websockets` holds from the next one on. `tls` None speaks none.
    """

    answer: Answer
    ending: Ending = DEFAULT_ENDING
    keepalive_timeout: float | None = 5.0
    tell_connection: bool = False
    ending_header: bool | None = None
    draining: bool = False
    holds: list[Hold] = field(default_factory=list)
    rules: Rules | None = None
    websockets: WebSocketSettings = DEFAULT_WEBSOCKETS
    tls: SSLContext | None = None

    def use_rules(self, rules: Rules | None) -> None:
        """Ask `rules` from the next connection or request on."""
        self.rules = rules


def check_keepalive_timeout(seconds: object) -> None:
    """Raise ValueError unless `seconds` is a finite number of at least 0, or None."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ValueError(f"keepalive_timeout: expected seconds of at least 0, or None for never, got {seconds!r}")
