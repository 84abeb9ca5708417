"""Connections without a network, and the peer at their other end, which counts what a server would."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Peer", "Wire"]


class Wire:
    """A connection. All wires are equal and none can be hashed: whoever tells them apart must do it by identity."""

    __hash__ = None  # type: ignore[assignment]  # that is the point

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.closed = False
        self.users = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wire)

    def __repr__(self) -> str:
        return f"<Wire {self.number}{' closed' if self.closed else ''}>"


class Peer:
    """Makes wires, by the script in `dials` (an error to raise, or seconds to take) and then in `dial_seconds`."""

    def __init__(self, *, dial_seconds: float = 0.0, close_seconds: float = 0.0) -> None:
        self.dial_seconds = dial_seconds
        self.close_seconds = close_seconds
        self.dials: deque[BaseException | float] = deque()
        self.closes: deque[BaseException | float] = deque()
        self.wires: list[Wire] = []
        self.dialed = 0
        self.dialing = 0
        self.peak_dialing = 0
        self.closed = 0
        self.closing = 0
        self.timeouts: list[float] = []

    @property
    def opened(self) -> int:
        """Wires made."""
        return len(self.wires)

    @property
    def open(self) -> int:
        """Wires not closed."""
        return self.opened - self.closed

    async def connect(self, timeout: float) -> Wire:
        self.timeouts.append(timeout)
        self.dialed += 1
        self.dialing += 1
        self.peak_dialing = max(self.peak_dialing, self.dialing)
        try:
            await _follow(self.dials, self.dial_seconds)
        finally:
            self.dialing -= 1
        wire = Wire(self, len(self.wires) + 1)
        self.wires.append(wire)
        return wire

    async def close(self, wire: Wire) -> None:
        assert not wire.closed, f"{wire} was closed twice"
        self.closing += 1
        try:
            await _follow(self.closes, self.close_seconds)
        finally:
            self.closing -= 1
            wire.closed = True
            self.closed += 1


async def _follow(script: deque[BaseException | float], seconds: float) -> None:
    step = script.popleft() if script else seconds
    if isinstance(step, BaseException):
        raise step
    if step:
        await asyncio.sleep(step)
