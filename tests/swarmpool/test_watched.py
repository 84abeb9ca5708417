from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer
from raw_agent import eventually

from swarmpool.watched import WatchedWebSocket


class Peer:
    """A server with one websocket, and that websocket's other end."""

    def __init__(self) -> None:
        self.socket: web.WebSocketResponse | None = None
        self.pongs = 0
        self.closed = asyncio.Event()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = web.WebSocketResponse(autoping=False)
        await self.socket.prepare(request)
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                await self.socket.send_str(message.data)
            self.pongs += message.type is WSMsgType.PONG
        self.closed.set()
        return self.socket

    @property
    def side(self) -> web.WebSocketResponse:
        assert self.socket is not None
        return self.socket


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[WatchedWebSocket, Peer]]:
    peer = Peer()
    app = web.Application()
    app.router.add_get("/", peer.serve)
    async with (
        TestServer(app) as server,
        ClientSession(ws_response_class=WatchedWebSocket) as session,
        session.ws_connect(server.make_url("/")) as websocket,
    ):
        assert isinstance(websocket, WatchedWebSocket)
        yield websocket, peer


async def told(websocket: WatchedWebSocket) -> str:
    """Watch until the watcher is told something."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    websocket.watch(answer.set_result)
    return await asyncio.wait_for(answer, 10)


async def test_a_peer_that_closes_is_noticed_while_idle() -> None:
    """Without it `closed` stays False for as long as nobody receives."""
    async with connected() as (websocket, peer):
        await peer.side.close(code=4000)
        assert not websocket.closed
        assert await told(websocket) == "the peer closed it with code 4000"


async def test_a_connection_that_is_lost_is_noticed_while_idle() -> None:
    async with connected() as (websocket, peer):
        transport = peer.side.get_extra_info("socket")
        assert transport is not None
        assert peer.side._req is not None
        assert peer.side._req.transport is not None
        peer.side._req.transport.abort()
        assert await told(websocket) == "its connection was lost"


async def test_a_message_nobody_waits_for_is_noticed_while_idle() -> None:
    async with connected() as (websocket, peer):
        await peer.side.send_str("out of turn")
        assert await told(websocket) == "the peer spoke out of turn"


async def test_pings_are_answered_while_idle() -> None:
    async with connected() as (websocket, peer):
        websocket.watch(pytest.fail)
        for _ in range(3):
            await peer.side.ping()
        await eventually(lambda: peer.pongs == 3)
        websocket.unwatch()


async def test_who_uses_it_next_receives_as_from_any_other() -> None:
    async with connected() as (websocket, _):
        for text in ("one", "two", "three"):
            websocket.watch(pytest.fail)
            await asyncio.sleep(0)
            websocket.unwatch()
            await websocket.send_str(text)
            assert await websocket.receive_str(timeout=10) == text
        await websocket.send_str("four")
        assert (await anext(websocket)).data == "four"


async def test_a_receive_that_is_cancelled_or_times_out_loses_no_message() -> None:
    async with connected() as (websocket, peer):
        websocket.watch(pytest.fail)
        websocket.unwatch()
        with pytest.raises(TimeoutError):
            await websocket.receive(timeout=0.001)
        receiving = asyncio.get_running_loop().create_task(websocket.receive())
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait([receiving])
        await peer.side.send_str("late")
        assert (await websocket.receive(timeout=10)).data == "late"
        assert websocket.close_code is None


async def test_what_was_never_received_is_told_to_the_next_watcher() -> None:
    """Whoever had it went away without reading an answer: the next one would get that."""
    async with connected() as (websocket, peer):
        websocket.watch(pytest.fail)
        websocket.unwatch()
        await peer.side.send_str("for the last user")
        await eventually(lambda: websocket._under_way is not None and websocket._under_way.done())
        assert await told(websocket) == "the peer spoke out of turn"


async def test_closing_it_while_it_is_listened_to_is_polite() -> None:
    async with connected() as (websocket, peer):
        websocket.watch(lambda _: None)
        await asyncio.sleep(0)
        assert await websocket.close(code=1000)
        async with asyncio.timeout(10):
            await peer.closed.wait()
        assert (peer.side.close_code, websocket.close_code) == (1000, 1000)
