"""Counts of one run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(slots=True)
class Statistics:
    """What went over the simulated network, and what it took. All but the last three are totals."""

    connects: int = 0
    """Calls of connect()."""
    connections: int = 0
    """Connections that came about."""
    refused: int = 0
    syns_lost: int = 0
    """SYNs that nothing answered: a fault, or a full backlog."""
    connect_timeouts: int = 0
    """Connects that the kernel gave up."""
    fins: int = 0
    resets: int = 0
    segments: int = 0
    bytes: int = 0
    """Of the streams. What TLS adds is not the seed's and may differ between runs."""
    turns: int = 0
    """Turns of the loop."""
    seconds: float = 0.0
    """Virtual seconds from the start to the end."""
    open_connections: int = 0
    """Client ends open now."""
    peak_connections: int = 0
    """The most client ends that were open at once."""
