"""Pools of websockets as they are written in the wild, over the bare aiohttp client, each wrong in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from fleetsim.proofs.aiohttp_client import AiohttpPool
from fleetsim.proofs.client import Endpoint, Options, WebSocketOptions

__all__ = ["Cutting", "Greedy", "OneShot", "Reckless", "Simple"]


class Loan:
    """A websocket that somebody has."""

    def __init__(self, pool: SimplePool, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._pool, self._websocket = pool, websocket

    async def ask(self, text: str) -> str:
        await self._websocket.send_str(text)
        return await self._websocket.receive_str()

    def give_back(self) -> None:
        self._pool.returned(self._websocket)

    def discard(self) -> None:
        self._pool.drop(self._websocket)


class SimplePool:
    """A list of idle websockets: knows no time, looks at `closed` before it lends, and at nothing else."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._idle: list[aiohttp.ClientWebSocketResponse] = []
        self._made: list[aiohttp.ClientWebSocketResponse] = []
        self._closing: list[asyncio.Task[bool]] = []

    async def borrow(self) -> Loan:
        while self._idle:
            websocket = self._idle.pop()
            if not websocket.closed:
                return Loan(self, websocket)
        return Loan(self, await self.dial())

    async def dial(self) -> aiohttp.ClientWebSocketResponse:
        self._made.append(await self._session.ws_connect(self._url))
        return self._made[-1]

    def returned(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._idle.append(websocket)

    def drop(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._closing.append(asyncio.ensure_future(websocket.close()))

    def invalidate(self) -> None:
        while self._idle:
            self.drop(self._idle.pop())

    async def prewarm(self, number: int) -> None:
        while len(self._idle) < number:
            self._idle.append(await self.dial())

    async def close(self) -> None:
        self._idle.clear()
        for websocket in self._made:
            self.drop(websocket)
        await asyncio.gather(*self._closing, return_exceptions=True)


class OneShotPool(SimplePool):
    """Nothing is kept."""

    def returned(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.drop(websocket)


class CuttingPool(SimplePool):
    """Invalidating closes what is in use, too."""

    def invalidate(self) -> None:
        self._idle.clear()
        for websocket in self._made:
            self.drop(websocket)


class GreedyPool(SimplePool):
    """Prewarming dials as many as it is told, whatever there is."""

    async def prewarm(self, number: int) -> None:
        self._idle += [await self.dial() for _ in range(number)]


class RecklessPool(SimplePool):
    """Closing it closes what lies idle at that moment, and it goes on lending."""

    async def close(self) -> None:
        self.invalidate()
        await asyncio.gather(*self._closing, return_exceptions=True)


class Simple(AiohttpPool):
    """The bare client with websockets of one kind."""

    kind: type[SimplePool] = SimplePool

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._endpoints = endpoints

    def websockets(self, index: int, path: str, _: WebSocketOptions) -> SimplePool:
        """Its websockets to one path."""
        assert self._session is not None
        endpoint = self._endpoints[index]
        return self.kind(self._session, f"ws://{endpoint.host}:{endpoint.port}{path}")


class OneShot(Simple):
    kind = OneShotPool


class Cutting(Simple):
    kind = CuttingPool


class Greedy(Simple):
    kind = GreedyPool


class Reckless(Simple):
    kind = RecklessPool
