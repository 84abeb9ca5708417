"""From connect() to a connection: SYN, SYN and ACK, ACK, with Linux's patience; and the ports of both ends.

A SYN that is lost, or comes to a full backlog, is sent again after 1, 2, 4 ... seconds; 64 seconds after the sixth
repetition, 127 after the first SYN, the program is told ETIMEDOUT (tcp_syn_retries = 6).
"""

from __future__ import annotations

import errno
from collections.abc import Container
from typing import TYPE_CHECKING

from simkernel.connection import Connection
from simkernel.hosts import HOME, LOOPBACK
from simkernel.links import Address, Link
from simkernel.tcp import End, Signal, State, raise_errno

if TYPE_CHECKING:
    from simkernel.kernel import Kernel

__all__ = ["Dial", "Ports"]

_RETRIES = 6
_FIRST_EPHEMERAL, _LAST_EPHEMERAL = 32_768, 60_999  # Linux: ip_local_port_range
_FIRST_FREE = 10_000


class Ports:
    """The next port to give to a client's end, and to a server that asks for any."""

    def __init__(self) -> None:
        self._ephemeral = _FIRST_EPHEMERAL
        self._free: dict[str, int] = {}

    def ephemeral(self, remote: Address) -> Address:
        """A client's own address, towards this one."""
        port = self._ephemeral
        self._ephemeral = port + 1 if port < _LAST_EPHEMERAL else _FIRST_EPHEMERAL
        return (LOOPBACK if remote[0].startswith("127.") else HOME, port)

    def free(self, host: str, taken: Container[Address]) -> int:
        """A port on this address that nobody has had. Raises EADDRINUSE when there is none."""
        port = self._free.get(host, _FIRST_FREE)
        while (host, port) in taken:
            port += 1
        if port >= _FIRST_EPHEMERAL:
            raise_errno(errno.EADDRINUSE)
        self._free[host] = port + 1
        return port


class Dial:
    """One connect under way. It ends in a connection, ECONNREFUSED or ETIMEDOUT, unless the program closes its end."""

    __slots__ = ("_attempt", "_client", "_connection", "_kernel", "_link")

    def __init__(self, kernel: Kernel, client: End, link: Link) -> None:
        self._kernel, self._client, self._link = kernel, client, link
        self._attempt = 0
        self._connection: Connection | None = None

    def send_syn(self) -> None:
        self._send(Dial._syn_arrives)

    def _send(self, arrives: _Step) -> None:
        if self._link.is_immediate:
            arrives(self)
        else:
            self._kernel.later(self._link.delay(self._kernel.chance), arrives, self)

    def _syn_arrives(self) -> None:
        if self._client.closed:
            return
        link = self._link
        listener = None if link.refusing else self._kernel.listener_at(link.address)
        if link.partitioned or link.loses_syn() or (listener is not None and self._is_full(listener)):
            self._lost()
        elif listener is None:
            self._send(Dial._refused)
        else:
            self._half_open(listener)
            self._send(Dial._answer_arrives)

    def _is_full(self, listener: End) -> bool:
        return self._link.backlog_full or listener.listening is None or listener.listening.is_full()

    def _half_open(self, listener: End) -> None:
        kernel, client = self._kernel, self._client
        assert listener.listening is not None
        listener.listening.half_open += 1
        server = End(kernel, State.CONNECTED)
        server.local, server.remote = self._link.address, client.local
        self._connection = Connection(kernel.next_number(), client, server, listener, self._link)

    def _lost(self) -> None:
        kernel = self._kernel
        kernel.statistics.syns_lost += 1
        next_step = Dial._syn_arrives if self._attempt < _RETRIES else Dial._give_up
        kernel.later(float(1 << self._attempt), next_step, self)
        self._attempt += 1

    def _give_up(self) -> None:
        if not self._client.closed:
            self._kernel.statistics.connect_timeouts += 1
            self._fail("connect timed out", errno.ETIMEDOUT)

    def _refused(self) -> None:
        if not self._client.closed:
            self._kernel.statistics.refused += 1
            self._fail("refused", errno.ECONNREFUSED)

    def _fail(self, what: str, number: int) -> None:
        self._kernel.note(what, *self._link.address)
        self._client.error = number
        self._client.stir()

    def _answer_arrives(self) -> None:
        connection, client, kernel = self._connection, self._client, self._kernel
        assert connection is not None
        if self._link.partitioned and not client.closed:
            kernel.later(1.0, Dial._answer_arrives, self)
            return
        if connection.listener.listening is not None:
            connection.listener.listening.half_open -= 1
        if client.closed:
            connection.server.closed = True
            return
        kernel.established(connection)
        client.state = State.CONNECTED
        client.stir()
        connection.up.push(Signal.ACK, 0)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Step = Callable[[Dial], None]
