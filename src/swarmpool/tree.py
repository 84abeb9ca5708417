"""What a whole pool tree shares: one session, one connector, one limiter, one life.

Theory of operation
-------------------
Views hold a reference to the tree and nothing else that matters. The tree opens at the root's `async with` or at the
first request, in whichever event loop that is, and belongs to that loop. `close` goes through four steps:

1. CLOSING: the limiter refuses newcomers and fails those who wait, at once, as do those who pause before another try;
   websocket pools begin to close;
2. exchanges under way, and websockets in use, have until the drain's deadline to end by themselves;
3. the rest are cut off, which ends their owners' waits in this loop turn or the next;
4. the session closes, idle sockets are ended, and when the last `connection_lost` has come the tree is CLOSED.

It runs in a task of its own that every caller of `close` waits for, so a cancelled caller does not leave a tree half
closed. A tree that is dropped while open cannot wait for anything: `_Remains` ends its sockets and says so once. They
are kept apart from the tree so that they outlive it, and so that the garbage collector never finds aiohttp's session
before ours has spoken.
"""

from __future__ import annotations

import asyncio
import math
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from swarmpool.agents import Agent
from swarmpool.care import Care, CareOptions
from swarmpool.connector import PoolConnector, abandon, open_session
from swarmpool.deadline import Deadlines
from swarmpool.descriptors import ensure_descriptors
from swarmpool.errors import PoolClosed, WrongEventLoop
from swarmpool.exchange import Exchange
from swarmpool.lifecycle import Lifecycle, State
from swarmpool.limiter import Limiter
from swarmpool.sockets import SocketStatistics
from swarmpool.statistics import AgentStatistics, PoolStatistics, RequestCounts
from swarmpool.watched import WatchedWebSocket

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from swarmpool.agent_websockets import AgentWebSockets
    from swarmpool.endpoints import AgentEndpoint
    from swarmpool.observing import Observer
    from swarmpool.options import PoolOptions

__all__ = ["Tree"]

_OPEN = State.OPEN  # Python 3.11 looks members of an enum up slowly
_CLOSED = (State.CLOSING, State.CLOSED)
_NO_SOCKETS = SocketStatistics(*[0] * 14)


class Tree:
    """The shared part of a pool and all its sub-pools. `name` is what warnings and errors call it."""

    def __init__(
        self,
        name: str,
        endpoints: Sequence[AgentEndpoint],
        options: PoolOptions,
        care: CareOptions | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.care = Care(care or CareOptions())
        self.agents = tuple(Agent(endpoint, index) for index, endpoint in enumerate(endpoints))
        self._websockets: AgentWebSockets | None = None
        self.limiter = Limiter(
            capacity=options.limit,
            capacity_per_agent=self._first_cap(),
            queue_timeout=options.queue_timeout,
            max_waiting=options.max_waiting,
            sockets=options.connector_limit,
            make_room=_room_maker(self),
        )
        self.care.pace(self.limiter)
        self.counts = RequestCounts()
        self.warming = asyncio.Lock()
        """Whose turn it is to take slots for connections that are to wait: see `readiness.py`."""
        self.observer: Observer | None = None
        self._make_exchange: Callable[..., Exchange] = Exchange
        self.session: ClientSession | None = None
        self._life = Lifecycle()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connector: PoolConnector | None = None
        self._remains: weakref.finalize[..., Tree] | None = None
        self._exchanges: set[Exchange] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._quiet: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._drain: asyncio.Timeout | None = None
        self._drained_at = math.inf
        self._deadlines: Deadlines | None = None

    @property
    def state(self) -> State:
        """Where the tree is in its life."""
        return self._life.state

    def _first_cap(self) -> int | None:
        adaptive = self.care.adaptive
        return self.options.concurrency_per_agent if adaptive is None else adaptive.initial

    @property
    def websockets(self) -> AgentWebSockets:
        """The tree's websockets; what they need is imported when the first is asked for."""
        if self._websockets is None:
            from swarmpool.agent_websockets import AgentWebSockets  # noqa: PLC0415 - most pools never need it

            self._websockets = AgentWebSockets(_opener(self))
            self._websockets.bind(self.limiter)
        return self._websockets

    def observe(self, observer: Observer | None) -> None:
        """Have `observer` told of every call, exchange and connection from now on; None ends that."""
        self.observer = observer
        self.care.plain = observer is None and not self.care.moves
        self._make_exchange = Exchange if observer is None else observer.exchange
        if self._connector is not None:
            self._connector.sockets.on_lost = None if observer is None else observer.connection_lost

    def make_room(self) -> None:
        """Somebody waits because websockets keep sockets: have idle ones given up."""
        if self._websockets is not None:
            self._websockets.make_room()

    def check_open(self) -> None:
        """Raise `PoolClosed` unless requests are still taken."""
        if self._life.state in _CLOSED:
            raise PoolClosed(f"{self.name} is {self.state.name.lower()}; nothing reopens a pool: make a new one")

    def open(self) -> ClientSession:
        """Open if the tree is NEW, and return the session. Raises `PoolClosed` and `WrongEventLoop`."""
        loop = asyncio.get_running_loop()
        if self._life.state is not _OPEN:
            self.check_open()
            self._open(loop)
        if loop is not self._loop:
            raise WrongEventLoop(f"{self.name} was opened in another event loop; make one pool for each loop")
        assert self.session is not None
        return self.session

    async def admit(self, agent: Agent, timeout: float | None) -> Exchange:
        """Wait for a slot for `agent`; the `Exchange` returned owns it until its `end`.

        Raises what `Limiter.acquire` does, and `PoolClosed` if the tree began to close while a slot was on its way.
        """
        exchange = self.admit_nowait(agent, timeout)
        if exchange is not None:
            return exchange
        limiter = self.limiter
        agent.load += 1
        try:
            queued = await limiter.acquire(agent.key)
        finally:
            agent.load -= 1
        if self._life.state is not _OPEN:
            limiter.release(agent.key)
            self.check_open()
        return self._begin(agent, timeout, queued)

    def admit_nowait(self, agent: Agent, timeout: float | None) -> Exchange | None:
        """`admit` if a slot is free for `agent` and that overtakes nobody; else None, and nothing is changed."""
        self.open()
        return self._begin(agent, timeout, 0.0) if self.limiter.acquire_nowait(agent.key) else None

    def _begin(self, agent: Agent, timeout: float | None, queued: float) -> Exchange:
        session = self.session
        assert session is not None
        assert self._loop is not None
        watched = self._deadlines if timeout == self.options.timeout else None
        exchange = self._make_exchange(
            self, session, agent, queue_seconds=queued, timeout=timeout, loop=self._loop, watched=watched
        )
        self._exchanges.add(exchange)
        agent.load += 1
        agent.sent += 1
        return exchange

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over: its slot goes to the next in line."""
        self._exchanges.discard(exchange)
        agent = exchange.agent
        agent.load -= 1
        self.limiter.release(agent.key)
        if self._quiet is not None and not self._exchanges and not self._quiet.done():
            self._quiet.set_result(None)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` on behalf of the tree: `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, drain: float) -> None:
        """Close, giving exchanges under way `drain` seconds. See `AgentPool.close`."""
        if self.state is State.NEW:
            self.limiter.close()
            self._life.move(State.CLOSED)
            if self._websockets is not None:
                await self._websockets.never_opened()
        if self.state is State.CLOSED:
            return
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise WrongEventLoop(f"{self.name} was opened in another event loop; close it there")
        self._drain_until(loop.time() + drain)
        if self._closing is None:
            self._life.move(State.CLOSING)
            self.limiter.close()
            self.care.wake()
            self._closing = loop.create_task(self._close())
        if self.state is State.CLOSING and self._websockets is not None:
            self._websockets.close(drain, self.start)
        await asyncio.shield(self._closing)

    def statistics(self, size: int) -> PoolStatistics:
        """One consistent record, for a view of `size` agents."""
        options = self.options
        return PoolStatistics(
            state=self.state,
            size=size,
            agents=len(self.agents),
            limit=options.limit,
            concurrency=options.concurrency,
            connector_limit=options.connector_limit,
            concurrency_per_agent=options.concurrency_per_agent,
            admission=self.limiter.statistics(),
            connections=_NO_SOCKETS if self._connector is None else self._connector.sockets.statistics(),
            requests=self.counts.statistics(),
            care=self.care.statistics(self.agents),
        )

    def agent_statistics(self, agents: Iterable[Agent]) -> list[AgentStatistics]:
        """A record of each of `agents`, those of a view."""
        return [
            AgentStatistics(
                agent_index=index,
                tree_index=agent.tree_index,
                endpoint=agent.endpoint,
                load=agent.load,
                sent=agent.sent,
                breaker=self.care.state(agent),
                cap=self.limiter.cap_of(agent.key),
            )
            for index, agent in enumerate(agents)
        ]

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        options = self.options
        ensure_descriptors(options.connector_limit)
        self.session, self._connector = open_session(
            limit=options.connector_limit,
            keepalive_timeout=options.keepalive_timeout,
            connect_timeout=options.connect_timeout,
            dns_ttl=options.dns_ttl,
            ssl=options.ssl,
            headers=options.headers,
            websocket_class=WatchedWebSocket,
        )
        if self.observer is not None:
            self._connector.sockets.on_lost = self.observer.connection_lost
        self._loop = loop
        self._deadlines = Deadlines(loop)
        remains = _Remains(self.name, self.session, self._connector, loop)
        self._remains = weakref.finalize(self, remains.dropped)
        self._life.move(State.OPEN)

    async def _close(self) -> None:
        cancelled: asyncio.CancelledError | None = None
        try:
            await self._wait_until_quiet()
        except asyncio.CancelledError as error:  # the loop is shutting down: no more waiting, but nothing may be left
            cancelled = error
        for exchange in list(self._exchanges):
            exchange.cut_off()
        await self._settled()
        assert self.session is not None
        assert self._connector is not None
        self._connector.sockets.end_idle()
        await self.session.close()
        await self._connector.sockets.emptied()
        if self._remains is not None:
            self._remains.detach()
        self._life.move(State.CLOSED)
        if cancelled is not None:
            raise cancelled

    async def _wait_until_quiet(self) -> None:
        try:
            async with asyncio.timeout_at(self._drained_at) as self._drain:
                await self._settled()
        except TimeoutError:
            pass  # those that are left are cut off
        finally:
            self._drain = None

    async def _settled(self) -> None:
        """Return when no exchange is under way and no task of the tree's runs."""
        while self._exchanges:
            self._quiet = asyncio.get_running_loop().create_future()
            await self._quiet
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def _drain_until(self, deadline: float) -> None:
        """The drain ends at the soonest deadline that any caller of `close` has given."""
        self._drained_at = min(self._drained_at, deadline)
        if self._drain is not None and not self._drain.expired():
            self._drain.reschedule(self._drained_at)


def _room_maker(tree: Tree) -> Callable[[], None]:
    """`tree.make_room`, without keeping the tree alive: its limiter has it."""
    alive = weakref.ref(tree)

    def make_room() -> None:
        there = alive()
        if there is not None:
            there.make_room()

    return make_room


def _opener(tree: Tree) -> Callable[[], ClientSession]:
    """What opens `tree` and returns its session, and does not keep it alive: websockets must not."""
    alive, name = weakref.ref(tree), tree.name

    def open_session() -> ClientSession:
        there = alive()
        if there is None:
            raise PoolClosed(f"{name} is gone: its websockets can connect no more")
        return there.open()

    return open_session


class _Remains:
    """What is left of a tree that was dropped while open."""

    def __init__(
        self, name: str, session: ClientSession, connector: PoolConnector, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._name = name
        self._session = session
        self._connector = connector
        self._loop = loop
        self._thread = threading.get_ident()

    def dropped(self) -> None:
        """End the sockets and warn, once. The garbage collector may call this from any thread."""
        end: Callable[[], None] = lambda: abandon(self._session, self._connector)  # noqa: E731 - one use, one line
        if threading.get_ident() == self._thread or self._loop.is_closed():
            end()
        else:
            self._loop.call_soon_threadsafe(end)
        message = f"Unclosed pool {self._name}: leave it with `async with` or `await pool.close()`"
        warnings.warn(message, ResourceWarning, stacklevel=2)
