"""A socket as `swarmpool.sockets` sees it, which no kernel knows."""

from __future__ import annotations

import asyncio

from swarmpool.sockets import Sockets, SocketState

__all__ = ["FakeSocket"]


class FakeSocket:
    """Its `connection_lost` comes when the test says so, if `sockets` is not given; else in the next turn."""

    def __init__(self, sockets: Sockets | None = None) -> None:
        self.state = SocketState.DIALING
        self.ended = 0
        self._sockets = sockets

    def end(self) -> None:
        self.ended += 1
        if self._sockets is not None:
            asyncio.get_running_loop().call_soon(self._sockets.lost, self)
