"""The one place that touches aiohttp's insides: a `TCPConnector` whose sockets are counted by `sockets.py`.

What is overridden has had the same signature from aiohttp 3.9 to 3.14 and on its main branch: `connect`,
`_create_connection`, `_wrap_create_connection`, `_release`, and the protocol factory `_factory`. Three rules of ours
replace aiohttp's:

- a socket is reserved before it is dialled, so `limit` bounds sockets (aiohttp's own counts requests only);
- a connection that is not kept is aborted, not closed: `transport.close()` waits for the peer to read what is left in
  the write buffer, and a peer that has stopped reading holds the descriptor for as long as it likes;
- an idle connection on which the server has spoken is not reused (aiohttp #13656: the next request would get that
  answer as its own).

aiohttp's queue is never used: the limiter lets in no more requests than `limit`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextvars import ContextVar
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import (
    ClientError,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    Fingerprint,
    TCPConnector,
    ThreadedResolver,
    WSMsgType,
)
from aiohttp.client_proto import ResponseHandler

from swarmpool.sockets import Sockets, SocketState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import ResolveResult
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["ConnectionUser", "PoolConnector", "abandon", "abort", "bury", "current_user", "has_unread", "open_session"]

_HEARTBEATS = (WSMsgType.PING, WSMsgType.PONG)
_ACQUIRED, _IDLE = SocketState.ACQUIRED, SocketState.IDLE  # Python 3.11 looks members of an enum up slowly
_NEVER = 1e9  # seconds; aiohttp before 3.14.4 does not understand keepalive_timeout=None


class ConnectionUser(Protocol):
    """Whoever wants to know which connection its request was given."""

    def took(self, reused: bool) -> None:
        """The request is about to go out, on a connection that had served before or not."""


current_user: ContextVar[ConnectionUser | None] = ContextVar("swarmpool_connection_user", default=None)


class _Dial:
    """One attempt to connect; `socket` is set once it has."""

    __slots__ = ("socket",)

    def __init__(self) -> None:
        self.socket: _CountedHandler | None = None


_dialing: ContextVar[_Dial | None] = ContextVar("swarmpool_dial", default=None)


class _CountedHandler(ResponseHandler):
    """aiohttp's protocol, which tells `sockets` when its transport comes and goes, and is in `alive` in between."""

    def __init__(self, sockets: Sockets, alive: set[_CountedHandler], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.state = SocketState.DIALING
        self._sockets = sockets
        self._alive = alive
        self._dial = _dialing.get()
        self._wire: asyncio.Transport | None = None
        self._connected_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wire = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self._connected_at = self._loop.time()
        self._alive.add(self)
        self._sockets.connected(self)
        if self._dial is not None:
            self._dial.socket = self
            self._dial = None

    def data_received(self, data: bytes) -> None:
        if data and self.state is _IDLE:  # empty data is aiohttp's own nudge to its parser
            self._sockets.reject(self)
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        body, writer = self._payload, self._drain_waiter
        super().connection_lost(exc)
        if writer is not None and writer.done() and not writer.cancelled():
            writer.exception()  # aiohttp 3.12 shields it: where its writer was cancelled, nobody would
        if body is not None and not body.is_eof() and body.exception() is None:
            # When its parser gives up in mid-body, aiohttp leaves the reader waiting for ever (3.12.15 to 3.14.5).
            body.set_exception(ClientError(f"the body is not HTTP: {self.exception()!r}"))
        self.gone()

    def end(self) -> None:
        """Abort the transport now, whatever is still in its buffers."""
        if self._wire is not None:
            self._wire.abort()

    def bury(self) -> None:
        """Close the socket of a transport whose loop does not run: `abort` would leave that to the loop's next turn.

        Only asyncio's own transports can be helped so; any other is aborted.
        """
        wire: Any = self._wire
        if wire is None or self._loop.is_running():
            return
        if hasattr(wire, "_ssl_protocol"):
            wire._closed = True
            wire = wire._ssl_protocol._transport
        if hasattr(wire, "_sock"):
            _close_now(wire)
            self.gone()
        elif not self._loop.is_closed():
            wire.abort()

    def gone(self) -> None:
        """The socket is closed, whether or not the transport says so."""
        if self.state is SocketState.CLOSED:
            return
        self._wire = None
        self._alive.discard(self)
        self._sockets.lost(self)
        if self._sockets.on_lost is not None:
            self._sockets.on_lost(self._loop.time() - self._connected_at)


def _close_now(wire: Any) -> None:
    """What a selector transport does in the turn after `abort`."""
    wire._closing = True
    if not wire._loop.is_closed():
        wire._loop._remove_reader(wire._sock_fd)
        wire._loop._remove_writer(wire._sock_fd)
    if wire._sock is not None:
        wire._sock.close()
        wire._sock = None


class _Resolver(ThreadedResolver):
    """The system's name service, which calls a name that cannot be encoded (an empty or long label) what it is."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            return await super().resolve(host, port, family)
        except UnicodeError as error:
            raise OSError(None, f"no host can have the name {host!r}: {error}") from error


class PoolConnector(TCPConnector):
    """A connector that holds at most `limit` sockets open, attempts included, and ends idle ones on time.

    One attempt is made at a time for a name with several addresses (`happy_eyeballs_delay=None`): a race of attempts
    would open sockets nobody has counted. `dns_ttl` is in seconds; None keeps answers for the connector's life.
    """

    def __init__(
        self,
        *,
        limit: int,
        keepalive_timeout: float | None,
        dns_ttl: float | None,
        ssl: SSLContext | Fingerprint | bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            limit=limit,
            keepalive_timeout=_NEVER if keepalive_timeout is None else keepalive_timeout,
            ttl_dns_cache=dns_ttl,  # type: ignore[arg-type]  # any number of seconds works; aiohttp says int
            resolver=_Resolver(),
            happy_eyeballs_delay=None,
            ssl=ssl,
        )
        self._pinned = ssl if isinstance(ssl, Fingerprint) else None
        self._cached_hosts._max_size = sys.maxsize  # 1,000 names since aiohttp 3.13.4; a pool may have more
        self.sockets = Sockets(limit=limit, keepalive_timeout=keepalive_timeout, loop=loop)
        self.alive: set[_CountedHandler] = set()
        self._factory = cast(partial[ResponseHandler], partial(_CountedHandler, self.sockets, self.alive, loop))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """Take an idle connection, or make one once a socket is free for it."""
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            assert isinstance(handler, _CountedHandler)
            reused = handler.state is _IDLE
            if reused and handler.should_close:
                self.sockets.reject(handler)
                connection.close()
                continue
            if reused:
                self.sockets.reuse(handler)
            user = current_user.get()
            if user is not None:
                user.took(reused)
            return connection

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> ResponseHandler:
        await self.sockets.reserve()
        dial = _Dial()
        token = _dialing.set(dial)
        try:
            return await super()._create_connection(req, traces, timeout)
        except BaseException:
            self._dial_failed(dial, req.is_ssl())
            raise
        finally:
            _dialing.reset(token)

    async def _wrap_create_connection(
        self, *args: Any, req: ClientRequest, **rest: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        transport, handler = await super()._wrap_create_connection(*args, req=req, **rest)
        if self._pinned is not None and req.is_ssl():
            # aiohttp would go on to the name's next address before this socket has closed, and nobody has counted that.
            self._pinned.check(transport)
        return transport, handler

    def _dial_failed(self, dial: _Dial, is_ssl: bool) -> None:
        if dial.socket is not None:  # cancelled between connecting and being told so
            self.sockets.end(dial.socket)
            self._loop.call_soon(dial.socket.gone)  # uvloop closes such a socket without a connection_lost
        elif is_ssl:  # a handshake cut short closes its socket in the loop's next turn
            self._loop.call_soon(self.sockets.dial_failed)
        else:
            self.sockets.dial_failed()

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        assert isinstance(protocol, _CountedHandler)
        if protocol.state is not _ACQUIRED:
            return
        if protocol.transport is not None and not self.closed:
            self.sockets.rest(protocol)
        else:
            self.sockets.end(protocol)


def open_session(
    *,
    limit: int,
    keepalive_timeout: float | None,
    connect_timeout: float | None,
    dns_ttl: float | None,
    ssl: SSLContext | Fingerprint | bool,
    headers: Mapping[str, str],
    websocket_class: type[ClientWebSocketResponse] = ClientWebSocketResponse,
) -> tuple[ClientSession, PoolConnector]:
    """A session and its connector, for the running loop.

    It keeps no cookies, reads no proxy from the environment, has no time limit of its own but that for one attempt to
    connect, and does not repeat requests by itself.
    """
    connector = PoolConnector(
        limit=limit,
        keepalive_timeout=keepalive_timeout,
        dns_ttl=dns_ttl,
        ssl=ssl,
        loop=asyncio.get_running_loop(),
    )
    session = ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        headers=headers,
        timeout=ClientTimeout(total=None, sock_connect=connect_timeout),
        trust_env=False,
        ws_response_class=websocket_class,
    )
    if hasattr(session, "_retry_connection"):
        session._retry_connection = False  # aiohttp repeats a GET once, unseen by any count
    return session, connector


def has_unread(websocket: ClientWebSocketResponse) -> bool:
    """Whether something has come that nobody has received: messages, or the end of the connection.

    False where aiohttp keeps them elsewhere than it has from 3.12 to 3.14: whoever listens learns it a turn later.
    """
    queue = getattr(websocket, "_reader", None)
    is_eof = getattr(queue, "is_eof", bool)
    return bool(is_eof()) or any(each[0].type not in _HEARTBEATS for each in getattr(queue, "_buffer", ()))


def abort(websocket: ClientWebSocketResponse) -> None:
    """End a websocket's connection now, whatever has not been sent, and its heartbeat."""
    stop_heartbeat = getattr(websocket, "_cancel_heartbeat", None)
    if stop_heartbeat is not None:  # aiohttp 3.14 starts it anew when the peer's answer to our close comes in
        stop_heartbeat()
    writer = getattr(websocket, "_writer", None)
    wire = getattr(writer, "transport", None)
    if wire is None:
        return
    waiter: asyncio.Future[None] | None = getattr(getattr(writer, "protocol", None), "_drain_waiter", None)
    if waiter is not None:  # aiohttp 3.12 shields it: where its writer was cancelled, nobody looks
        waiter.add_done_callback(_seen)
    wire.abort()


def _seen(ended: asyncio.Future[None]) -> None:
    """Asyncio must not complain of an exception that nobody asked for."""
    if not ended.cancelled():
        ended.exception()


def bury(connection: Connection) -> None:
    """Close the socket of a connection whose loop has closed, and let aiohttp forget it without a warning."""
    handler = connection.protocol
    if isinstance(handler, _CountedHandler):
        handler.bury()
        connection._protocol = None


def abandon(session: ClientSession, connector: PoolConnector) -> None:
    """Close without waiting and without aiohttp's warnings, because nobody is left to await."""
    session.detach()
    for handler in list(connector.alive):
        handler.bury()
        connector.sockets.end(handler)
    connector.sockets.end_idle()
    connector._close()
