"""Servers too rude for the fleet: one that accepts and never reads, one that does not even accept."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fleetsim.proofs.client import Endpoint

__all__ = ["deaf_peer", "silent_peer"]

_WAITING_ROOM = 16


def _listener(host: str, port: int, backlog: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def deaf_peer() -> Iterator[Endpoint]:
    """A peer whose kernel completes handshakes and fills its buffers, and whose program never reads a byte."""
    with _listener("127.0.0.1", 0, _WAITING_ROOM) as listener:
        yield Endpoint("127.0.0.1", listener.getsockname()[1])


@contextmanager
def silent_peer(host: str = "127.0.0.1", port: int = 0) -> Iterator[Endpoint]:
    """A peer that leaves a SYN unanswered: its backlog holds one connection, and that one is ours.

    Linux drops the SYN of whoever comes after (man 2 listen, net.ipv4.tcp_abort_on_overflow = 0).
    """
    with _listener(host, port, 0) as listener:
        address = listener.getsockname()
        fillers = [_dial(address) for _ in range(_WAITING_ROOM)]
        try:
            yield Endpoint(host, address[1])
        finally:
            for filler in fillers:
                filler.close()


def _dial(address: tuple[str, int]) -> socket.socket:
    filler = socket.socket()
    filler.setblocking(False)
    filler.connect_ex(address)
    return filler
