"""A loop that counts the client's sockets, so that neither the client's word nor the fleet's view is needed for it.

Theory of operation
-------------------
Every asyncio client of TCP, aiohttp's happy eyeballs among them, comes through `loop.sock_connect`, and the transport
made later owns the very same socket object; so a socket is open exactly while `fileno()` is not -1, from its first SYN
to the end of `connection_lost`. The fleet only accepts, so what is connected in this loop is the client's. A socket is
counted when it is about to connect, which is the only moment the number can rise: the peak misses nothing.

The fleet's own count cannot serve here: a server may see an accept before the FIN that went out before it.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import Any

__all__ = ["SocketWitness", "WatchedLoop"]


class SocketWitness:
    """Counts of the sockets that have tried to connect: `attempts` in all, `open_now`, and `peak_open`."""

    def __init__(self) -> None:
        self.attempts = 0
        self.peak_open = 0
        self._sockets: weakref.WeakKeyDictionary[socket.socket, tuple[int, Any]] = weakref.WeakKeyDictionary()

    @property
    def open_now(self) -> int:
        """Sockets that are connecting or connected and whose descriptor is not closed."""
        return self.open_since(0)

    def open_since(self, attempts: int) -> int:
        """Those of them that began to connect when there had been that many attempts, or later."""
        return sum(number > attempts and sock.fileno() != -1 for sock, (number, _) in self._sockets.items())

    def open_to(self, host: str, port: int) -> int:
        """Those of them that go to this address."""
        return sum(address[:2] == (host, port) and sock.fileno() != -1 for sock, (_, address) in self._sockets.items())

    def note(self, sock: socket.socket, address: Any) -> None:
        """`sock` is about to connect to `address`."""
        self.attempts += 1
        self._sockets[sock] = self.attempts, address
        for closed in [known for known in self._sockets if known.fileno() == -1]:
            del self._sockets[closed]
        self.peak_open = max(self.peak_open, len(self._sockets))

    def forget_peak(self) -> None:
        """Start the peak anew from what is open now."""
        self.peak_open = self.open_now


class WatchedLoop(asyncio.SelectorEventLoop):
    """The usual loop with a `witness`, and with `names` that resolve to the addresses they are mapped to."""

    def __init__(self) -> None:
        super().__init__()
        self.witness = SocketWitness()
        self.names: dict[str, tuple[str, ...]] = {}

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.witness.note(sock, address)
        await super().sock_connect(sock, address)

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> list[Any]:
        name = host.decode("ascii") if isinstance(host, bytes) else host  # anyio encodes names itself
        if name not in self.names:
            return await super().getaddrinfo(host, port, **hints)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, int(port))) for address in self.names[name]]
