"""What the ledger's journal holds: one record per connection, one per request and one per websocket.

The fleet writes into the mutable `ConnectionLine`, `RequestLine` and `WebSocketLine`; readers get frozen copies. Times
are `loop.time()` of the fleet's loop, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

__all__ = [
    "UNIX_PEER",
    "ClosedHow",
    "ConnectionLine",
    "ConnectionRecord",
    "EndedBy",
    "EndedHow",
    "RequestLine",
    "RequestOutcome",
    "RequestRecord",
    "WebSocketLine",
    "WebSocketRecord",
]

EndedBy = Literal["client", "server"]
EndedHow = Literal["fin", "rst"]
ClosedHow = Literal["close", "fin", "rst"]
"""How a websocket ended. `close`: with a close frame, whatever came behind it."""

UNIX_PEER = "unix"
"""What stands for the client's address where it has none."""

RequestOutcome = Literal["complete", "cut", "client_gone", "server_closed", "error"]
"""How a request ended.

`complete`: the whole answer was handed to the transport. `cut`: an ending stopped it short. `client_gone`: the client
closed or reset first. `server_closed`: the server was closed under it. `error`: the answer raised in mid-stream.
"""


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One connection. `ended_*` are None while it is open; `peer` is the client's `host:port`,
    or `unix` on a Unix socket.

    `faults` names the faults that struck it when it was accepted, and those of its server's process that began while
    it was open. `tls` is the protocol's version, as `TLSv1.3`, once the handshake is done; None before that, where it
    failed, and where no TLS is spoken.
    """

    connection: int
    server: int
    peer: str
    opened_at: float
    requests: int
    ended_at: float | None
    ended_by: EndedBy | None
    ended_how: EndedHow | None
    faults: tuple[str, ...] = ()
    tls: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. `number` counts over the fleet and `on_connection` over its connection, both from 1.

    `status` is the HTTP status of the head sent, None if none was; `ending` the name of the ending applied; they and
    the two after them are None while the request is in flight. `faults` names the faults chosen for it, by its header
    or by a rule, in the order they were chosen, and those of its server's process that held when it was there.
    `websocket`: it asked for one; where that was granted, `status` is 101, the request ended with the handshake, and a
    WebSocketRecord tells the rest.
    """

    number: int
    server: int
    connection: int
    on_connection: int
    method: str
    path: str
    arrived_at: float
    status: int | None
    ending: str | None
    ended_at: float | None
    outcome: RequestOutcome | None
    faults: tuple[str, ...] = ()
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class WebSocketRecord:
    """One websocket, from its handshake on. `number` counts over the fleet, from 1; `request` is the number of the
    request that asked for it.

    Messages are whole ones, control frames left out. `ended_by` is who sent the first close frame, or, where there was
    none, who ended the connection; `close_code` is that frame's, 1005 for a frame without one. They are None while it
    is open, and `close_code` is where no close frame was seen.
    """

    number: int
    server: int
    connection: int
    request: int
    path: str
    opened_at: float
    messages_in: int
    messages_out: int
    ended_at: float | None
    ended_by: EndedBy | None
    ended_how: ClosedHow | None
    close_code: int | None


class ConnectionLine:
    """The ledger's own, growing account of one connection."""

    __slots__ = (
        "connection",
        "ended_at",
        "ended_by",
        "ended_how",
        "faults",
        "opened_at",
        "peer",
        "requests",
        "server",
        "tls",
    )

    def __init__(self, connection: int, server: int, peer: str, opened_at: float) -> None:
        self.connection, self.server, self.peer, self.opened_at = connection, server, peer, opened_at
        self.requests = 0
        self.ended_at: float | None = None
        self.ended_by: EndedBy | None = None
        self.ended_how: EndedHow | None = None
        self.faults: tuple[str, ...] = ()
        self.tls: str | None = None

    def record(self) -> ConnectionRecord:
        return ConnectionRecord(
            self.connection,
            self.server,
            self.peer,
            self.opened_at,
            self.requests,
            self.ended_at,
            self.ended_by,
            self.ended_how,
            self.faults,
            self.tls,
        )


# There may be a hundred thousand of them, and none refers to anything: the garbage collector need not look.
class RequestLine(msgspec.Struct, eq=False, gc=False):
    """The ledger's own, growing account of one request; its fields are those of `RequestRecord`."""

    number: int
    server: int
    connection: int
    on_connection: int
    method: str
    path: str
    arrived_at: float
    status: int | None = None
    ending: str | None = None
    ended_at: float | None = None
    outcome: RequestOutcome | None = None
    faults: tuple[str, ...] = ()
    websocket: bool = False

    def record(self) -> RequestRecord:
        return RequestRecord(*msgspec.structs.astuple(self))


class WebSocketLine(msgspec.Struct, eq=False, gc=False):
    """The ledger's own, growing account of one websocket; its fields are those of `WebSocketRecord`."""

    number: int
    server: int
    connection: int
    request: int
    path: str
    opened_at: float
    messages_in: int = 0
    messages_out: int = 0
    ended_at: float | None = None
    ended_by: EndedBy | None = None
    ended_how: ClosedHow | None = None
    close_code: int | None = None

    def record(self) -> WebSocketRecord:
        return WebSocketRecord(*msgspec.structs.astuple(self))
