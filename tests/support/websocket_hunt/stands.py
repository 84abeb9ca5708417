"""The pools that a plan is played on, each kind made and closed in its way.

`STANDS` are the right ones; a broken pool takes one's place there to see whether it is caught.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from fleetsim import Fleet
from swarmpool import AgentPool, ConnectionPool, WebSocketPool
from swarmpool.connection_pool import ConnectionEvent
from swarmpool.lifecycle import State
from websocket_hunt.steps import Lending

__all__ = ["STANDS", "Agents", "Bare", "Own", "Stand"]

_CHECK = 0.01  # seconds
LONGEST_MESSAGE = 4096  # bytes; the fleet's oversized one is longer

Sink = Callable[[ConnectionEvent], object]


class Stand(ABC):
    """Pools of one kind. `sinks` get their events."""

    listens = True
    """Whether it hears what the server says to an idle websocket."""
    most_sockets: int | None = None
    """The most sockets that may be open at any instant; None where the kind promises nothing of sockets."""

    def __init__(self, lending: Lending, fleet: Fleet, sinks: tuple[Sink, Sink]) -> None:
        self.pools: list[ConnectionPool[Any]] = []
        self.options: dict[str, Any] = dict(lending.options)
        if lending.checks:
            self.options["validate_cb"] = _is_well
        self.session: aiohttp.ClientSession | None = None
        self.build(lending, fleet, sinks)

    @abstractmethod
    def build(self, lending: Lending, fleet: Fleet, sinks: tuple[Sink, Sink]) -> None:
        """Make `pools`."""

    async def close(self, drain: float | None) -> None:
        """Close all of it."""
        for pool in self.pools:
            await pool.aclose(drain)

    @property
    def is_closed(self) -> bool:
        """Whether all of it says that it is closed."""
        return all(pool.state is State.CLOSED for pool in self.pools)

    async def put_away(self) -> None:
        """Close the session that is ours and not the pools', when they are closed."""
        if self.session is not None:
            await self.session.close()

    async def ask(self, which: int, text: str) -> bool:
        """A plain request; whether it was answered well."""
        raise NotImplementedError

    @property
    def answers(self) -> bool:
        """Whether `ask` is of any use."""
        return False

    def amiss(self) -> str:
        """What does not add up while nobody wants anything of it, in words."""
        return ""

    def left(self) -> str:
        """What is left of it once it is closed, in words; nothing should be."""
        return ""


class Own(Stand):
    """A WebSocketPool with a session of its own."""

    make: type[WebSocketPool] = WebSocketPool

    def build(self, lending: Lending, fleet: Fleet, sinks: tuple[Sink, Sink]) -> None:
        url = f"{fleet[0].url}{lending.path}"
        self.pools = [self.make(url, max_msg_size=LONGEST_MESSAGE, seed=1, on_event=sinks[0], **self.options)]

    def left(self) -> str:
        sessions = [pool._own for pool in self.pools if isinstance(pool, WebSocketPool) and pool._own is not None]
        return "" if all(session.closed for session in sessions) else "the pool's own session"


class Agents(Stand):
    """The websockets of two agents, over the session of their pool."""

    make: type[AgentPool] = AgentPool

    def build(self, lending: Lending, fleet: Fleet, sinks: tuple[Sink, Sink]) -> None:
        self.most_sockets = lending.sockets
        self.tree = self.make(fleet.endpoints, concurrency=lending.slots, connector_limit=lending.sockets)
        given = {**self.options, "max_msg_size": LONGEST_MESSAGE, "seed": 1}
        self.pools = [
            self.tree.websockets(which, lending.path, on_event=sink, **given) for which, sink in enumerate(sinks)
        ]

    async def close(self, drain: float | None) -> None:
        await self.tree.close(drain or 0.0)

    @property
    def is_closed(self) -> bool:
        return super().is_closed and self.tree.statistics().state is State.CLOSED

    async def ask(self, which: int, text: str) -> bool:
        return bool((await self.tree.post(which, text)).success)

    @property
    def answers(self) -> bool:
        return True

    def amiss(self) -> str:
        kept, there = self.tree.statistics().admission.kept, [pool.statistics().open for pool in self.pools]
        return "" if kept == sum(there) else f"{kept} sockets are kept for {there} websockets"

    def left(self) -> str:
        now = self.tree.statistics()
        held = (now.admission.kept, now.admission.in_flight, now.admission.waiting, now.connections.open)
        return "" if held == (0, 0, 0, 0) else f"{now.admission} {now.connections}"


class Bare(Stand):
    """A ConnectionPool of aiohttp's own websockets, closed by callback."""

    listens = False
    make: type[ConnectionPool[Any]] = ConnectionPool

    def build(self, lending: Lending, fleet: Fleet, sinks: tuple[Sink, Sink]) -> None:
        self._url = f"{fleet[0].url}{lending.path}"
        self.options.pop("heartbeat", None)  # aiohttp's own `close` leaves its timer behind
        self.pools = [
            self.make(
                connect_cb=self._connect,
                close_cb=self._disconnect,
                seed=1,
                on_event=sinks[0],
                **{"validate_cb": _is_open, **self.options},
            )
        ]

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        return await self.session.ws_connect(self._url, max_msg_size=LONGEST_MESSAGE)

    async def _disconnect(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        await websocket.close()


def _is_open(websocket: aiohttp.ClientWebSocketResponse) -> bool:
    return not websocket.closed


async def _is_well(websocket: aiohttp.ClientWebSocketResponse) -> bool:
    await asyncio.sleep(_CHECK)
    return not websocket.closed


STANDS: Mapping[str, type[Stand]] = {"own": Own, "agents": Agents, "bare": Bare}
