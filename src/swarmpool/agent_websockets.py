"""The websockets of a tree: one pool for each agent and path, all over the tree's session.

An open websocket takes one of `connector_limit` from before its dial until it is closed, and the limiter knows it
(`Limiter.keep`): requests have the slots that are left, and one at least. When a request or another websocket waits
because sockets are kept, the websocket that has been idle longest is given up, whosesoever it is.

Waiting for a socket is no part of a dial's `connect_timeout`, for that it takes long says nothing of the server. So it
has no end of its own, and a dial that is needed no more, because its caller has left or been served by a websocket that
came back, is taken out of the line: it would have somebody's websocket given up, and shake hands for nobody.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from swarmpool.connection_pool import Prewarming
from swarmpool.connection_pool.shell import DialWithdrawn
from swarmpool.errors import TooManyWaiting
from swarmpool.lifecycle import State
from swarmpool.options import count
from swarmpool.websockets import WebSocketPool

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from swarmpool.agents import Agent
    from swarmpool.limiter import Limiter
    from swarmpool.watched import WatchedWebSocket

__all__ = ["AgentWebSocketPool", "AgentWebSockets"]

_OVER = (State.CLOSING, State.CLOSED)


class AgentWebSockets:
    """All websocket pools of one tree. `open_session` gives its session, or raises PoolClosed."""

    def __init__(self, open_session: Callable[[], ClientSession]) -> None:
        self.open_session = open_session
        self.idle: OrderedDict[WatchedWebSocket, AgentWebSocketPool] = OrderedDict()
        """Those that nobody uses, the longest idle first."""
        self.leaving = 0
        """Those given up whose sockets are not free yet."""
        self._limiter: Limiter | None = None
        self._pools: dict[tuple[str, str], tuple[AgentWebSocketPool, dict[str, Any]]] = {}
        self._replaced: weakref.WeakSet[AgentWebSocketPool] = weakref.WeakSet()

    @property
    def limiter(self) -> Limiter:
        """Who keeps sockets."""
        assert self._limiter is not None
        return self._limiter

    def bind(self, limiter: Limiter) -> None:
        """`limiter` is the tree's, which calls `make_room`."""
        self._limiter = limiter

    def pool(self, agent: Agent, path: str, options: dict[str, Any]) -> AgentWebSocketPool:
        """The pool for `path` of `agent`: the one there is, unless that is closed. Raises ValueError if the one there
        is was made with other options."""
        there = self._pools.get((agent.key, path))
        if there is None or there[0].state in _OVER:
            made = AgentWebSocketPool(self, agent, path, options)
            if there is not None:
                self._replaced.add(there[0])  # it may be closing still
            self._pools[agent.key, path] = (made, dict(options))
            return made
        pool, made_with = there
        if options and options != made_with:
            names = ", ".join(made_with) or "none"  # not what they are: headers hold secrets
            raise ValueError(f"websockets of {agent}{path} have other options already: {names} are given")
        return pool

    def make_room(self) -> None:
        """Give up idle websockets, longest idle first, until one is on its way out for each socket that is wanted."""
        while self.idle and self.leaving < self.limiter.wanted:
            _, pool = self.idle.popitem(last=False)
            pool.evict()

    def close(self, drain: float, start: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """`start` the closing of each pool; the soonest `drain` counts."""
        for pool in self._all():
            start(pool.aclose(drain))

    async def never_opened(self) -> None:
        """The tree is closed that was never opened: so are its pools, none of which has a connection."""
        for pool in self._all():
            await pool.aclose(None)

    def spare(self) -> int:
        """Sockets that could be kept now, with nobody waiting for them and no dial on its way to one."""
        return self.limiter.spare - sum(pool.on_their_way for pool in self._all())

    def _all(self) -> list[AgentWebSocketPool]:
        return [*(pool for pool, _ in self._pools.values()), *self._replaced]


class AgentWebSocketPool(WebSocketPool):
    """Websockets to one path of one agent, over the tree's session. What `AgentPool.websockets` returns."""

    complains = False  # the tree does
    queues_dials = True

    def __init__(self, home: AgentWebSockets, agent: Agent, path: str, options: dict[str, Any]) -> None:
        for name in ("ssl", "session"):
            if name in options:
                raise TypeError(f"websockets() takes no {name}: they use the pool's own")
        if not path.startswith("/"):
            raise ValueError(f"path must begin with a slash, not {path!r}")
        super().__init__(agent.url(path), **{**options, "max_size": _bounded(options.get("max_size"), home.limiter)})
        self._home = home
        self._evicting = 0
        self._kept = 0
        self._queued: dict[asyncio.Task[Any], bool] = {}
        """Dials that wait for a socket, and whether they have been told to give up."""

    @property
    def on_their_way(self) -> int:
        """Dials that keep no socket yet."""
        return max(self.statistics().open - self._kept, 0)

    async def connect(self, timeout: float) -> WatchedWebSocket:
        """Wait for a socket to keep, and then make a new websocket within `timeout` seconds. Called by the pool."""
        self._session()
        if not self._home.limiter.keep_nowait():
            await self._wait_for_socket()
        self._kept += 1
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await super().connect(timeout)
        except BaseException as error:
            self._give_socket_up()
            if isinstance(error, TimeoutError) and limit.expired():
                raise self._dial_overdue() from error
            raise

    async def _wait_for_socket(self) -> None:
        if self._core.surplus > self._giving_up:
            raise DialWithdrawn
        dial = asyncio.current_task()
        assert dial is not None
        self._queued[dial] = False
        try:
            await self._home.limiter.keep()
        except asyncio.CancelledError:
            if self._queued[dial]:
                raise DialWithdrawn from None
            raise
        finally:
            del self._queued[dial]

    @property
    def _giving_up(self) -> int:
        return sum(self._queued.values())

    def withdraw_dials(self, surplus: int) -> None:
        """Take dials that wait for a socket out of the line, the last first. Called by the pool."""
        waiting = [dial for dial, told in self._queued.items() if not told]
        for dial in waiting[::-1][: max(surplus - self._giving_up, 0)]:
            self._queued[dial] = True
            dial.cancel()

    async def disconnect(self, connection: WatchedWebSocket) -> None:
        """Close a websocket and give its socket up. Called by the pool."""
        home = self._home
        home.idle.pop(connection, None)
        try:
            await super().disconnect(connection)
        finally:
            if self._evicting:
                self._evicting -= 1
                home.leaving -= 1
            self._give_socket_up()

    def validate(self, connection: WatchedWebSocket) -> Any:
        """Whether a websocket that was idle can be used. Called by the pool."""
        self._home.idle.pop(connection, None)
        return super().validate(connection)

    def rested(self, connection: WatchedWebSocket) -> None:
        """A websocket is idle: somebody else may need its socket. Called by the pool."""
        super().rested(connection)
        self._home.idle[connection] = self
        if self._home.limiter.wanted:
            asyncio.get_running_loop().call_soon(self._home.make_room)

    def evict(self) -> None:
        """Give up the one that has been idle longest, if there is one."""
        given_up = self.shrink(1)
        self._evicting += given_up
        self._home.leaving += given_up

    def prewarm(self, n: int = 1) -> Prewarming:
        """`ConnectionPool.prewarm`; awaiting it raises ConnectFailed where fewer sockets are to spare.

        Nothing is dialled then: requests must not wait for what nobody uses yet.
        """
        now = self.statistics()
        missing, spare = count("n", n, at_least=0) - now.idle, self._home.spare()
        if now.max_size is not None:
            missing = min(missing, now.max_size - now.idle - now.leased)
        missing -= now.dialing
        if now.state in _OVER or missing <= spare or missing <= 0:
            return super().prewarm(n)
        handle = Prewarming(asyncio.get_running_loop())
        handle.finish(TooManyWaiting(f"{missing} more websockets need sockets, and {max(spare, 0)} are to spare"))
        return handle

    def _give_socket_up(self) -> None:
        self._kept -= 1
        self._home.limiter.give_up()

    def _session(self) -> ClientSession:
        return self._home.open_session()


def _bounded(max_size: int | None, limiter: Limiter) -> int:
    """`max_size` as far as there can be sockets: whoever waits beyond that has no dial wait beside him, which would
    shake hands for nobody once he has gone."""
    most = max(limiter.sockets - 1, 1)
    return most if max_size is None else min(count("max_size", max_size), most)
