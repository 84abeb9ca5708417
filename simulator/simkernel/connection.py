"""What lies between two ends of TCP: a connection, and its two directions.

Guarantees. A direction is strictly first in, first out: signals never overtake data. Nothing is lost: what cannot
arrive, by a partition or a silent box in the middle, waits and is sent again, until its sender gives up.

What may change a direction: a push by its source's end, its own deliveries from the kernel's agenda, and the kernel
where a way is free again (`send_again`).
"""

from __future__ import annotations

import errno
import zlib
from collections import deque

from simkernel.links import Link
from simkernel.tcp import End, Signal

__all__ = ["Connection", "Pipe"]

_FIN, _RST = Signal.FIN, Signal.RST
_RETRANSMISSION = 0.2  # Linux: TCP_RTO_MIN
_TLS_HANDSHAKE = b"\x16"  # RFC 8446, 5.1: the content type of the first record


class Connection:
    """Both ends of a connection and the two directions between them, from the SYN's arrival on."""

    __slots__ = ("client", "down", "is_tls", "link", "listener", "number", "server", "silent", "up")

    def __init__(self, number: int, client: End, server: End, listener: End, link: Link) -> None:
        self.number, self.client, self.server = number, client, server
        self.listener, self.link = listener, link
        self.silent = False
        """Whether nothing arrives any more, for ever and unseen: a NAT has forgotten it, or a machine is gone."""
        self.is_tls: bool | None = None
        self.up = Pipe(self, client, server, ">")
        self.down = Pipe(self, server, client, "<")
        client.connection = server.connection = self
        client.peer, server.peer = server, client
        client.outgoing, server.outgoing = self.up, self.down
        client.is_client = True

    def reset_both(self) -> None:
        """A box in the middle ends it: both get an RST."""
        self.up.push(_RST, 0)
        self.down.push(_RST, 0)

    def end_server(self) -> None:
        """What the kernel sends for a process that is gone; the program of that end is told ECONNABORTED."""
        server = self.server
        if not server.closed and not server.reset and not server.writing_shut:
            server.writing_shut = True
            self.down.push(_RST if server.unread else _FIN, 0)
        server.fail(errno.ECONNABORTED)

    def forget_when_closed(self) -> None:
        if self.client.closed and self.server.closed:
            self.client.kernel.connections.pop(self.number, None)


class Pipe:
    """One direction of a connection."""

    __slots__ = (
        "arrival",
        "buffer",
        "connection",
        "kernel",
        "mark",
        "queue",
        "source",
        "stalled_at",
        "target",
        "under_way",
    )

    def __init__(self, connection: Connection, source: End, target: End, mark: str) -> None:
        self.connection, self.source, self.target = connection, source, target
        self.kernel = source.kernel
        self.mark = f"{connection.number}{mark}"
        self.queue: deque[bytes | Signal] = deque()
        self.under_way = 0
        self.arrival = 0.0
        self.buffer = self.kernel.settings.buffer
        self.stalled_at: float | None = None

    def push(self, item: bytes | Signal, size: int) -> None:
        """Put it on its way; it arrives after everything pushed before. Without latency it has arrived on return."""
        kernel, link = self.kernel, self.connection.link
        if link.is_immediate and not self.queue:
            self.under_way += size
            self.queue.append(item)
            self.deliver()
            return
        when = kernel.now
        if link.bandwidth and size:
            when = max(when, self.arrival - link.latency) + size / link.bandwidth
        when = kernel.on_grid(when + link.delay(kernel.chance))
        if when < self.arrival:
            when = self.arrival
        self.arrival = when
        self.under_way += size
        self.queue.append(item)
        kernel.at(when, Pipe.deliver, self)

    def send_again(self) -> None:
        """The way is free again: what was lost is repeated after a retransmission timeout."""
        kernel = self.kernel
        kernel.later(_RETRANSMISSION + self.connection.link.delay(kernel.chance), Pipe.deliver, self)

    def deliver(self) -> None:
        """The next item arrives, unless nothing does: then it waits for the heal, or for the sender to give up."""
        connection = self.connection
        if connection.link.partitioned or connection.silent:
            self._stall()
            return
        self.stalled_at = None
        item = self.queue.popleft()
        if isinstance(item, bytes):
            self._deliver_data(item)
        elif item is _FIN:
            self.kernel.note_signal("fin", self.mark)
            self.target.take_fin()
        elif item is _RST:
            self.kernel.note_signal("rst", self.mark)
            self.target.take_rst()
        else:
            self.kernel.acknowledged(connection)

    def _deliver_data(self, data: bytes) -> None:
        kernel, connection, size = self.kernel, self.connection, len(data)
        self.under_way -= size
        statistics = kernel.statistics
        statistics.segments += 1
        statistics.bytes += size
        if connection.is_tls is None:
            connection.is_tls = data.startswith(_TLS_HANDSHAKE)
        if kernel.trace.segments:
            facts = ("tls",) if connection.is_tls else (size, zlib.crc32(data))
            kernel.note("segment", self.mark, *facts)
        self.target.take_data(data)

    def _stall(self) -> None:
        kernel = self.kernel
        kernel.stalled.append(self)
        if self.stalled_at is None:
            self.stalled_at = kernel.now
            kernel.later(kernel.settings.retransmission_timeout, Pipe._give_up, self)

    def _give_up(self) -> None:
        since, patience = self.stalled_at, self.kernel.settings.retransmission_timeout
        if since is not None and since + patience <= self.kernel.now:
            self.source.fail(errno.ETIMEDOUT)
