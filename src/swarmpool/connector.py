"""The one place that touches aiohttp's insides: a `TCPConnector` whose sockets are counted by `sockets.py`.

What is overridden has had the same signature from aiohttp 3.9 to 3.14 and on its main branch: `connect`,
`_create_connection`, `_release`, and the protocol factory `_factory`. Three rules of ours replace aiohttp's:

- a socket is reserved before it is dialled, so `limit` bounds sockets (aiohttp's own counts requests only);
- a connection that is not kept is aborted, not closed: `transport.close()` waits for the peer to read what is left in
  the write buffer, and a peer that has stopped reading holds the descriptor for as long as it likes;
- an idle connection on which the server has spoken is not reused (aiohttp #13656: the next request would get that
  answer as its own).

aiohttp's queue is never used: the limiter lets in no more requests than `limit`.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, cast

from aiohttp import ClientRequest, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, ThreadedResolver
from aiohttp.client_proto import ResponseHandler

from swarmpool.sockets import Sockets, SocketState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["PoolConnector", "Usage", "abandon", "current_usage", "open_session"]

_NEVER = 1e9  # seconds; aiohttp before 3.14.4 does not understand keepalive_timeout=None


class Usage:
    """What one exchange did with connections: how many it took, and whether the last one had been used before."""

    __slots__ = ("connections", "reused")

    def __init__(self) -> None:
        self.connections = 0
        self.reused = False


current_usage: ContextVar[Usage | None] = ContextVar("swarmpool_usage", default=None)


class _Dial:
    """One attempt to connect; `socket` is set once it has."""

    __slots__ = ("socket",)

    def __init__(self) -> None:
        self.socket: _CountedHandler | None = None


_dialing: ContextVar[_Dial | None] = ContextVar("swarmpool_dial", default=None)


class _CountedHandler(ResponseHandler):
    """aiohttp's protocol, which tells `sockets` when its transport comes and goes."""

    def __init__(self, sockets: Sockets, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.state = SocketState.DIALING
        self._sockets = sockets
        self._dial = _dialing.get()
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._sockets.connected(self)
        if self._dial is not None:
            self._dial.socket = self
            self._dial = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._wire = None
        self._sockets.lost(self)

    def end(self) -> None:
        """Abort the transport now, whatever is still in its buffers."""
        if self._wire is not None:
            self._wire.abort()

    def bury(self) -> None:
        """Close the socket of a transport whose loop is closed; only asyncio's own transports can be helped so."""
        finish = getattr(self._wire, "_call_connection_lost", None)
        if finish is not None:
            finish(None)


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
        ssl: SSLContext | bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            limit=limit,
            keepalive_timeout=_NEVER if keepalive_timeout is None else keepalive_timeout,
            ttl_dns_cache=dns_ttl,  # type: ignore[arg-type]  # any number of seconds works; aiohttp says int
            resolver=ThreadedResolver(),
            happy_eyeballs_delay=None,
            ssl=ssl,
        )
        self.sockets = Sockets(limit=limit, keepalive_timeout=keepalive_timeout, loop=loop)
        self._factory = cast(partial[ResponseHandler], partial(_CountedHandler, self.sockets, loop))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """Take an idle connection, or make one once a socket is free for it."""
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            assert isinstance(handler, _CountedHandler)
            reused = handler.state is SocketState.IDLE
            if reused and handler.should_close:
                self.sockets.reject(handler)
                connection.close()
                continue
            if reused:
                self.sockets.reuse(handler)
            usage = current_usage.get()
            if usage is not None:
                usage.connections += 1
                usage.reused = reused
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

    def _dial_failed(self, dial: _Dial, is_ssl: bool) -> None:
        if dial.socket is not None:  # cancelled between connecting and being told so
            self.sockets.end(dial.socket)
        elif is_ssl:  # a handshake cut short closes its socket in the loop's next turn
            self._loop.call_soon(self.sockets.dial_failed)
        else:
            self.sockets.dial_failed()

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        assert isinstance(protocol, _CountedHandler)
        if protocol.state is not SocketState.ACQUIRED:
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
    ssl: SSLContext | bool,
    headers: Mapping[str, str],
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
    )
    if hasattr(session, "_retry_connection"):
        session._retry_connection = False  # aiohttp repeats a GET once, unseen by any count
    return session, connector


def abandon(session: ClientSession, connector: PoolConnector) -> None:
    """Close without waiting and without aiohttp's warnings, because nobody is left to await.

    On a closed loop a transport can do nothing any more, so its last step is called for it: that closes the socket.
    """
    session.detach()
    if not connector._loop.is_closed():
        connector.sockets.end_idle()
    else:
        for socket in connector.sockets.forsake():
            assert isinstance(socket, _CountedHandler)
            socket.bury()
    connector._close()
