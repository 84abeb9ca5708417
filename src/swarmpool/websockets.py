"""`WebSocketPool`: a `ConnectionPool` of aiohttp websockets to one URL.

While a websocket is idle it is listened to (`watched.py`): pings are answered, and one that its peer closes, or speaks
on out of turn, is closed at once and never handed out. So is one that comes back with messages nobody has received:
they would be taken for answers to the next caller.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict, Unpack

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, DummyCookieJar, Fingerprint, TCPConnector
from yarl import URL

from swarmpool.connection_pool import ConnectionPool
from swarmpool.connector import current_user
from swarmpool.options import check_headers, count, seconds_or_none
from swarmpool.watched import WatchedWebSocket

if TYPE_CHECKING:
    from ssl import SSLContext

    from swarmpool.connection_pool import ConnectionEvent

__all__ = ["ConnectionPoolArguments", "WebSocketPool"]


_SCHEMES = ("ws", "wss", "http", "https")


class ConnectionPoolArguments(TypedDict, total=False):
    """What a `WebSocketPool` hands on to `ConnectionPool`, which explains it."""

    max_session_duration: float | None
    mark_refreshed_on_get: bool
    connect_timeout: float
    close_timeout: float
    max_size: int | None
    max_waiting: int | None
    max_dialing: int | None
    max_age: float | None
    max_idle: float | None
    jitter: float
    reconnect_delay: float | None
    max_reconnect_delay: float
    seed: int | None
    name: str | None
    on_event: Callable[[ConnectionEvent], object] | None
    validate_cb: Callable[[WatchedWebSocket], bool | Awaitable[bool]] | None


class WebSocketPool(ConnectionPool[WatchedWebSocket]):
    """Websockets to `url` (ws, wss, http or https), each lent to one caller at a time.

    - `headers`, `protocols`: sent with every handshake.
    - `ssl`: an SSLContext, an aiohttp Fingerprint, or False for no check.
    - `heartbeat`: seconds between pings of ours while nothing comes (None = none); the peer's are always answered.
    - `max_msg_size`: bytes of the longest message that is accepted.
    - `session`: an aiohttp session to use instead of one of the pool's own; the caller closes it, and must have made it
      with `ws_response_class=WatchedWebSocket`.

    All else is as in `ConnectionPool`. A handshake that the server refuses raises aiohttp's WSServerHandshakeError.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        protocols: Iterable[str] = (),
        heartbeat: float | None = None,
        max_msg_size: int = 4 * 2**20,
        ssl: SSLContext | Fingerprint | bool | None = None,
        session: ClientSession | None = None,
        **options: Unpack[ConnectionPoolArguments],
    ) -> None:
        self._url = _checked(url)
        self._headers = dict({} if headers is None else headers)
        check_headers(self._headers)
        self._protocols = tuple(protocols)
        self._heartbeat = seconds_or_none("heartbeat", heartbeat)
        self._max_msg_size = count("max_msg_size", max_msg_size)
        self._ssl = True if ssl is None else ssl
        self._given = session
        self._own: ClientSession | None = None
        self._closing_own: asyncio.Task[None] | None = None
        options.setdefault("name", f"{type(self).__name__}({self._url.origin()})")
        super().__init__(**options)

    async def connect(self, timeout: float) -> WatchedWebSocket:  # noqa: ARG002 - the pool cancels it in time
        """Make a new websocket. Called by the pool."""
        while True:
            user = _User()
            token = current_user.set(user)
            try:
                return await self._shake_hands(self._session())
            except ClientConnectionError:
                if not user.reused:  # the server closed an idle connection as we took it: take another
                    raise
            finally:
                current_user.reset(token)

    async def disconnect(self, connection: WatchedWebSocket) -> None:
        """Close a websocket. Called by the pool."""
        try:
            await connection.close()
        finally:
            connection.abort()

    def validate(self, connection: WatchedWebSocket) -> bool | Awaitable[bool]:
        """Whether a websocket that was idle can be used. Called by the pool."""
        return connection.unwatch() and super().validate(connection)

    def rested(self, connection: WatchedWebSocket) -> None:
        """A websocket is idle: listen to it. Called by the pool."""
        pool = weakref.ref(self)

        def unfit(_: str) -> None:
            if (alive := pool()) is not None:
                alive.lost(connection)

        connection.watch(unfit)

    async def aclose(self, drain: float | None = 5.0) -> None:
        """`ConnectionPool.aclose`, and close the session that is the pool's own."""
        await super().aclose(drain)
        if self._closing_own is not None:
            await asyncio.shield(self._closing_own)

    def _let_go(self) -> None:
        """Close the session that is the pool's own. Called by the pool, whoever still waits for it to close."""
        if self._own is not None:
            self._closing_own = asyncio.get_running_loop().create_task(self._own.close())

    def __del__(self) -> None:
        super().__del__()
        own: ClientSession | None = getattr(self, "_own", None)  # the constructor may have failed
        if own is not None and not own.closed:
            own.detach()  # it would complain too; its connector does not, for that keeps nothing idle

    def _session(self) -> ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = ClientSession(
                connector=TCPConnector(limit=0, force_close=True),
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(),
                trust_env=False,
                ws_response_class=WatchedWebSocket,
            )
        return self._own

    async def _shake_hands(self, session: ClientSession) -> WatchedWebSocket:
        websocket = await session.ws_connect(
            self._url,
            headers=self._headers,
            protocols=self._protocols,
            heartbeat=self._heartbeat,
            max_msg_size=self._max_msg_size,
            ssl=self._ssl,
        )
        if isinstance(websocket, WatchedWebSocket):
            return websocket
        with suppress(ClientConnectionError):
            await websocket.close()
        raise TypeError("session must be made with ws_response_class=swarmpool.WatchedWebSocket")


class _User:
    """What a handshake wants to know of its connection."""

    reused = False

    def took(self, reused: bool) -> None:
        """The handshake is about to go out."""
        self.reused = reused


def _checked(url: object) -> URL:
    parsed = URL(url) if isinstance(url, str) else url
    if not isinstance(parsed, URL):
        raise TypeError(f"url must be text or a yarl.URL, not {type(url).__name__}")
    if parsed.scheme not in _SCHEMES or not parsed.host:  # the rest is not shown: it may hold a secret
        raise ValueError(
            f"url must be like ws://host:port/path, not with scheme {parsed.scheme!r}, host {parsed.host!r}"
        )
    return parsed
