"""What a `ConnectionPool` promises of any connection, on websockets to the fleet's `/echo`."""

from __future__ import annotations

from typing import Any, Self

from pool_suite import Kind, PoolSuite

from fleetsim import Fleet
from fleetsim.profile import Profile
from swarmpool import ConnectionPool, WatchedWebSocket, WebSocketPool


class Websockets(Kind[WatchedWebSocket]):
    """aiohttp's websockets, listened to while they are idle."""

    async def __aenter__(self) -> Self:
        self.fleet = Fleet(1, profile=Profile(ws_idle_deadline=0.5 if self.closes_idle else None))
        await self.fleet.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fleet.__aexit__(None, None, None)

    def pool(self, **options: Any) -> ConnectionPool[WatchedWebSocket]:
        return WebSocketPool(f"{self.fleet[0].url}/echo".replace("http", "ws", 1), **options)

    async def talk(self, connection: WatchedWebSocket, text: str) -> str:
        await connection.send_str(text)
        return str(await connection.receive_str())

    def opened(self) -> int:
        return self.fleet.ledger.websockets

    def open_now(self) -> int:
        return self.fleet.ledger.websockets_open


class TestWebsockets(PoolSuite):
    kind = Websockets
