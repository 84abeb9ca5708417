"""The knobs of a simulated world. All are keyword-only and validated when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

__all__ = ["Settings"]

_FRACTIONS = ("fragment",)
_POSITIVE = ("buffer", "max_turns", "max_seconds", "retransmission_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the network and the clock of a run behave before any fault strikes."""

    latency: float = 0.0005
    """Seconds a packet takes, one way. With 0 it arrives within the call that sends it, as on Linux's loopback."""
    jitter: float = 0.5
    """Each packet takes up to this fraction of the latency more, drawn from the seed."""
    bandwidth: float | None = None
    """Bytes per second, for each direction of each connection; None: without limit."""
    buffer: int = 256 * 1024
    """Bytes that may be under way or unread in each direction before a sender has to wait."""
    fragment: float = 0.0
    """The chance that what is written at once arrives in two segments."""
    quantum: float = 0.0
    """Packets arrive on this grid of seconds, which makes several arrive at the same instant; 0: no grid."""
    processing: float = 0.0
    """At most so many seconds pass in each turn of the loop, drawn from the seed; 0: computing takes no time."""
    name_delay: float = 0.001
    """Seconds to look up a name, up to twice as many."""
    retransmission_timeout: float = 924.0
    """Seconds until data nobody acknowledges ends a connection (Linux: tcp_retries2 = 15, 924.6 s)."""
    max_turns: int = 200_000
    """Turns of the loop without time passing that are called a livelock."""
    max_seconds: float = 86_400.0
    """Virtual seconds a run may take before that is called a livelock."""
    segments: bool = True
    """Whether the trace has every segment; without them a long run needs less memory."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or value is None:
                continue
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name}={value!r}: expected a number of at least 0")
            if field.name in _FRACTIONS and value > 1:
                raise ValueError(f"{field.name}={value!r}: expected a chance between 0 and 1")
            if field.name in _POSITIVE and value == 0:
                raise ValueError(f"{field.name}={value!r}: expected more than 0")
        if self.bandwidth is not None and self.bandwidth == 0:
            raise ValueError("bandwidth=0: expected more than 0 bytes per second, or None")
