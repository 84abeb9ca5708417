"""One end of TCP, as far as a program can tell it from Linux: order, FIN, RST, half close, backpressure.

Guarantees. Unread data outlives a reset, then the error is told once, then the end. Closing with unread data, or with
SO_LINGER 0, sends an RST; data for a closed end is answered with one. `room` bytes may be sent: what is under way and
what lies unread count against the same buffer.

What may change an end: the calls of its socket, packets arriving (`Pipe.deliver`), and a fault that strikes it
(`fail`). Whoever changes what a poll would say marks the end as `stirred`; the selector looks at nobody else.

What is hard: a sender told "no room" must be stirred again when its peer has read, one packet later. `blocked` is set
by the question, and cleared when that packet leaves.
"""

from __future__ import annotations

import enum
import errno
import os
from collections import deque
from typing import TYPE_CHECKING, NoReturn

from simkernel.links import Address

if TYPE_CHECKING:
    from simkernel.connection import Connection, Pipe
    from simkernel.kernel import Kernel

__all__ = ["End", "Listening", "Signal", "State", "raise_errno"]


class Signal(enum.Enum):
    """What travels beside data."""

    ACK = "ack"
    FIN = "fin"
    RST = "rst"


class State(enum.Enum):
    """Where a socket's end is in its life; whether it is closed is told apart."""

    NEW = "new"
    LISTENING = "listening"
    SHUT = "shut"
    CONNECTING = "connecting"
    CONNECTED = "connected"


_FIN, _RST = Signal.FIN, Signal.RST
_CONNECTED = State.CONNECTED


def raise_errno(number: int) -> NoReturn:
    """Raise the OSError, of its own class, that the kernel raises for this errno."""
    raise OSError(number, os.strerror(number))


class Listening:
    """A listening end's queue: `half_open` handshakes under way, and ends `waiting` to be accepted."""

    __slots__ = ("backlog", "half_open", "waiting")

    def __init__(self, backlog: int) -> None:
        self.backlog = backlog
        self.half_open = 0
        self.waiting: deque[End] = deque()

    def is_full(self) -> bool:
        return len(self.waiting) + self.half_open > self.backlog


class End:
    """What descriptors refer to: one end of a connection, a listening socket, or a socket that is neither yet."""

    __slots__ = (
        "blocked",
        "closed",
        "connection",
        "descriptors",
        "error",
        "fin_received",
        "is_client",
        "kernel",
        "lingers_zero",
        "listening",
        "local",
        "outgoing",
        "peer",
        "remote",
        "reset",
        "rst_sent",
        "state",
        "unread",
        "unread_bytes",
        "writing_shut",
    )

    outgoing: Pipe
    peer: End

    def __init__(self, kernel: Kernel, state: State = State.NEW) -> None:
        self.kernel, self.state = kernel, state
        self.descriptors: dict[int, None] = {}
        self.closed = False
        self.local: Address | None = None
        self.remote: Address | None = None
        self.unread: deque[bytes] = deque()
        self.unread_bytes = 0
        self.error = 0
        self.fin_received = self.reset = self.writing_shut = self.rst_sent = False
        self.blocked = self.lingers_zero = self.is_client = False
        self.connection: Connection | None = None
        self.listening: Listening | None = None

    # What a poll says.

    def stir(self) -> None:
        """Have the selector look at it."""
        stirred = self.kernel.stirred
        for descriptor in self.descriptors:
            stirred[descriptor] = self

    def is_readable(self) -> bool:
        if self.listening is not None:
            return self.state is State.SHUT or bool(self.listening.waiting)
        return bool(self.unread) or self.fin_received or self.reset or bool(self.error)

    def is_writable(self) -> bool:
        if self.state is not _CONNECTED:
            return self.state is State.SHUT or bool(self.error)
        if self.error or self.reset or self.writing_shut or self.room() > 0:
            return True
        self.blocked = True
        return False

    # What its socket does with it.

    def room(self) -> int:
        outgoing = self.outgoing
        return outgoing.buffer - outgoing.under_way - outgoing.target.unread_bytes

    def send(self, data: bytes | bytearray | memoryview) -> int | None:
        """Return how many bytes are on their way, None where there is no room. Raises as send(2) does."""
        if self.error:
            self._tell_error()
        if self.writing_shut or self.reset:
            raise_errno(errno.EPIPE)
        if self.state is not _CONNECTED:
            raise_errno(errno.ENOTCONN)
        if not data:
            return 0
        room = self.room()
        if room <= 0:
            self.blocked = True
            return None
        sent = bytes(data) if len(data) <= room else bytes(memoryview(data)[:room])
        cut = self.kernel.cut(len(sent))
        if cut:
            self.outgoing.push(sent[:cut], cut)
        self.outgoing.push(sent[cut:], len(sent) - cut)
        return len(sent)

    def receive(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes, empty at the end of the stream, None where nothing has come. Raises as recv(2)
        does."""
        if self.unread:
            data = self._take(limit)
            if self.peer.blocked:
                self._tell_room()
            return data
        if self.fin_received:
            return b""  # tcp_recvmsg(): the end of the stream comes before an error, which is kept for send(2)
        if self.error:
            self._tell_error()
        if self.reset:
            return b""
        if self.state is not _CONNECTED:
            raise_errno(errno.ENOTCONN)
        return None

    def peek(self, limit: int) -> bytes:
        """Return what `receive` would, and leave it there."""
        return b"".join(self.unread)[:limit]

    def _take(self, limit: int) -> bytes:
        unread = self.unread
        first = unread.popleft()
        parts, size = [first], len(first)
        while size < limit and unread:
            part = unread.popleft()
            parts.append(part)
            size += len(part)
        data = b"".join(parts) if len(parts) > 1 else first
        if size > limit:
            unread.appendleft(data[limit:])
            data = data[:limit]
        self.unread_bytes -= len(data)
        return data

    def _tell_room(self) -> None:
        connection = self.connection
        if connection is not None and self.peer.blocked:
            self.peer.blocked = False
            self.kernel.later(connection.link.delay(self.kernel.chance), End.stir, self.peer)

    def _tell_error(self) -> NoReturn:
        number, self.error = self.error, 0
        raise_errno(number)

    def shut_writing(self) -> None:
        """Send a FIN, once. Raises ENOTCONN where there is no connection."""
        if self.state is not _CONNECTED or self.reset:
            raise_errno(errno.ENOTCONN)
        if not self.writing_shut:
            self.writing_shut = True
            self.outgoing.push(_FIN, 0)

    def close(self) -> None:
        """The last descriptor is gone."""
        if self.closed:
            return
        self.closed = True
        if self.listening is not None:
            self.kernel.stop_listening(self)
        elif self.connection is not None and self.state is _CONNECTED:
            self._close_connection(self.connection)

    def _close_connection(self, connection: Connection) -> None:
        self.kernel.closed(self, connection)
        if not self.reset:
            if self.lingers_zero or self.unread:
                self.send_rst()
            elif not self.writing_shut:
                self.writing_shut = True
                self.outgoing.push(_FIN, 0)
        self.unread.clear()
        self.unread_bytes = 0
        self._tell_room()
        connection.forget_when_closed()

    def start_listening(self, backlog: int) -> None:
        self.state, self.listening = State.LISTENING, Listening(backlog)

    def next_to_accept(self) -> End | None:
        """Return the end that has waited longest, None where nobody waits. Raises EINVAL where nobody listens."""
        if self.listening is None or self.state is State.SHUT:
            raise_errno(errno.EINVAL)
        return self.listening.waiting[0] if self.listening.waiting else None

    def accepted(self) -> None:
        """`next_to_accept` has been taken."""
        assert self.listening is not None
        self.listening.waiting.popleft()

    def empty_queue(self) -> list[End]:
        """Take out those that wait to be accepted."""
        waiting = list(self.listening.waiting) if self.listening is not None else []
        if self.listening is not None:
            self.listening.waiting.clear()
        return waiting

    def shut_listening(self) -> None:
        """Take no more connections, whoever else has a descriptor of it."""
        self.state = State.SHUT
        self.kernel.stop_listening(self)
        self.stir()

    # What happens to it.

    def send_rst(self) -> None:
        if not self.rst_sent:
            self.rst_sent = True
            self.outgoing.push(_RST, 0)

    def take_data(self, data: bytes) -> None:
        if self.closed:
            if not self.peer.closed:
                self.send_rst()
        elif not self.reset:
            self.unread.append(data)
            self.unread_bytes += len(data)
            self.stir()

    def take_fin(self) -> None:
        if not self.closed:
            self.fin_received = True
            self.stir()

    def take_rst(self) -> None:
        # Linux, tcp_reset(): EPIPE to whom the FIN has already come, ECONNRESET to all others.
        self.fail(errno.EPIPE if self.fin_received else errno.ECONNRESET)

    def fail(self, number: int) -> None:
        """The connection is gone; the program is told `number` by its next call."""
        if not self.closed and not self.reset:
            self.error = number
            self.reset = True
            self.stir()
