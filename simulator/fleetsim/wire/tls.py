"""TLS on one accepted connection: between the socket's transport, to which it is the protocol, and the `Connection`,
to which it is the transport.

asyncio's own TLS shows a connection only once its handshake is done. A client that never shakes hands could then be
neither counted nor ended, and no fault could strike before it did. Here the `Connection` has its transport from the
accept on, so the ledger counts it from then, and what becomes of the handshake is in its line.

How a connection ends. `close` is close_notify and FIN at once, without waiting for the peer's (asyncio waits 30 s for
it). `write_eof` is the same of the sending side alone; what comes after it is thrown away unread. `abort`, and a reset
on the real socket, say nothing. A client's close_notify is its FIN. A handshake has no time limit.

What is hard: a record that cannot be read, and a handshake that fails, are ended by whoever refused: the client, if its
last word was an alert, else the server, which has sent one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from fleetsim.wire.connection import Connection

__all__ = ["TlsWire"]

_READ_AT_ONCE = 1 << 18


class TlsWire(asyncio.Protocol, asyncio.Transport):
    """The server's side of TLS for `connection`. Lives in the listener's loop."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        super().__init__()
        self._connection, self._context = connection, context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = self._deaf = False

    # To the socket's transport it is the protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self._connection.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._incoming.write(data)
        try:
            if self._shaken or self._shake_hands():
                self._decrypt()
        except ssl.SSLError as error:
            self._deaf = True
            self._flush()
            self._connection.broken("client" if "ALERT" in (error.reason or "") else "server")

    def eof_received(self) -> None:
        self._connection.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        self._shaken = True
        self._connection.shaken(self._tls.version())
        return True

    def _decrypt(self) -> None:
        while not self._deaf and not self._wire.is_closing():
            try:
                data = self._tls.read(_READ_AT_ONCE)
            except ssl.SSLWantReadError:
                break
            if not data:
                self._connection.eof_received()
                self.close()
                return
            self._connection.data_received(data)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._wire.is_closing():
            self._wire.write(self._outgoing.read())

    # To the `Connection` it is the transport.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data` and hand it to the socket in one write."""
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]
        self._flush()

    def close(self) -> None:
        self._say_goodbye()
        self._wire.close()

    def write_eof(self) -> None:
        self._say_goodbye()
        self._deaf = True
        self._wire.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def abort(self) -> None:
        self._wire.abort()

    def _say_goodbye(self) -> None:
        if self._shaken and not self._deaf and not self._wire.is_closing():
            # It would wait for the peer's close_notify; by then its own is on its way.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()

    def is_closing(self) -> bool:
        return self._wire.is_closing()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def is_reading(self) -> bool:
        return self._wire.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._wire.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the socket's transport; `ssl_object` and `sslcontext` are TLS's."""
        own = {"ssl_object": self._tls, "sslcontext": self._context}
        return own[name] if name in own else self._wire.get_extra_info(name, default)
