from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import warnings
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from aiohttp.http import WS_KEY
from raw_agent import eventually
from websocket_peer import WebSocketPeer

from swarmpool import PoolClosed, WatchedWebSocket, WebSocketPool


async def echoed(websocket: WatchedWebSocket, text: str) -> str:
    await websocket.send_str(text)
    return str(await websocket.receive_str(timeout=20))


async def test_one_websocket_serves_one_caller_after_the_other() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        for number in range(5):
            async with pool.connection() as websocket:
                assert await echoed(websocket, f"{number}") == f"{number}"
        now = pool.statistics()
        assert (now.opened, now.reused, len(peer.sockets)) == (1, 4, 1)
    assert peer.open == 0


async def test_a_websocket_that_its_peer_closed_while_idle_is_not_handed_out() -> None:
    """`closed` of an idle websocket stays False whatever its peer does."""
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        async with pool.connection() as websocket:
            await echoed(websocket, "first")
        await peer.sockets[0].close(code=4000)
        async with pool.connection() as websocket:
            assert await echoed(websocket, "second") == "second"
        now = pool.statistics()
        assert (now.opened, now.lost + now.invalid) == (2, 1)


async def test_an_idle_websocket_that_is_closed_by_its_peer_goes_without_traffic() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        await pool.prewarm()
        await peer.sockets[0].close()
        await eventually(lambda: pool.statistics().open == 0)
        assert pool.statistics().lost == 1


async def test_a_websocket_with_an_unread_answer_serves_nobody_else() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        async with pool.connection() as websocket:
            await websocket.send_str("for the first")
            await websocket.ping()
            await eventually(lambda: len(unread(websocket)) > 0)
        async with pool.connection() as websocket:
            assert await echoed(websocket, "for the second") == "for the second"
        assert len(peer.sockets) == 2


def unread(websocket: WatchedWebSocket) -> Any:
    return websocket._reader._buffer


async def test_a_waiter_is_not_handed_a_websocket_with_an_unread_answer() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url, max_size=1) as pool:
        lease = await pool.acquire()
        waiting = asyncio.get_running_loop().create_task(pool.acquire())
        await lease.connection.send_str("for the first")
        await eventually(lambda: len(unread(lease.connection)) > 0)
        lease.release()
        async with await waiting as second:
            assert await echoed(second.connection, "for the second") == "for the second"
        assert len(peer.sockets) == 2


async def test_pings_are_answered_while_idle() -> None:
    """uvicorn pings every 20 s and closes who does not answer."""
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        await pool.prewarm()
        await peer.sockets[0].ping(b"are you there")
        async with pool.connection() as websocket:
            assert await echoed(websocket, "still here") == "still here"
        assert len(peer.sockets) == 1


async def test_a_refused_handshake_raises_what_aiohttp_raises() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        peer.refuse_with = 503
        with pytest.raises(WSServerHandshakeError, match="503"):
            await pool.acquire()
        assert (pool.statistics().failed, pool.statistics().open) == (1, 0)


async def test_a_handshake_that_hangs_ends_with_the_callers_timeout() -> None:
    async with WebSocketPeer().serving() as peer, WebSocketPool(peer.url) as pool:
        peer.gate.clear()
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=0.01)
        peer.gate.set()


async def test_headers_and_protocols_go_with_every_handshake() -> None:
    async with (
        WebSocketPeer().serving() as peer,
        WebSocketPool(peer.url, headers={"Authorization": "Bearer token-abc"}, protocols=["realtime"]) as pool,
    ):
        await pool.prewarm(2)
        for socket in peer.sockets:
            assert socket._req is not None
            assert socket._req.headers["Authorization"] == "Bearer token-abc"
            assert socket._req.headers["Sec-WebSocket-Protocol"] == "realtime"
        assert "token-abc" not in repr(pool)


async def test_a_session_of_the_callers_own_is_used_and_left_open() -> None:
    async with (
        WebSocketPeer().serving() as peer,
        ClientSession(ws_response_class=WatchedWebSocket) as session,
    ):
        async with WebSocketPool(peer.url, session=session) as pool, pool.connection() as websocket:
            assert await echoed(websocket, "hello") == "hello"
        assert not session.closed


async def test_a_session_that_cannot_watch_is_refused() -> None:
    async with (
        WebSocketPeer().serving() as peer,
        ClientSession() as session,
        WebSocketPool(peer.url, session=session) as pool,
    ):
        with pytest.raises(TypeError, match=r"ws_response_class=swarmpool\.WatchedWebSocket"):
            await pool.acquire()
        await peer.until(0)


async def test_after_close_nothing_is_left_and_nothing_opens() -> None:
    async with WebSocketPeer().serving() as peer:
        pool = WebSocketPool(peer.url)
        await pool.prewarm(3)
        await pool.aclose()
        await peer.until(0)
        with pytest.raises(PoolClosed):
            await pool.acquire()
        assert len(peer.sockets) == 3


@pytest.mark.leaks
async def test_no_heartbeat_is_left_of_a_websocket_that_was_closed() -> None:
    """aiohttp 3.14 starts it anew when the peer's close frame comes in."""
    async with WebSocketPeer().serving() as peer:
        async with WebSocketPool(peer.url, heartbeat=60) as pool, pool.connection() as websocket:
            assert await echoed(websocket, "hello") == "hello"
        timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]  # no public list
        assert not [timer for timer in timers if "heartbeat" in repr(timer) and not timer.cancelled()]


async def test_a_dropped_pool_says_so_once() -> None:
    async with WebSocketPeer().serving() as peer:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = WebSocketPool(peer.url)
            await pool.prewarm(2)
            del pool
            gc.collect()
            await peer.until(0)
            gc.collect()
        told = [str(each.message) for each in caught]
        assert len(told) == 1, told
        assert told[0].startswith("Unclosed pool <WebSocketPool")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("ftp://host/", ValueError, "scheme 'ftp'"),
        ("ws:///path", ValueError, "host None"),
        ("nothing", ValueError, "scheme ''"),
        (80, TypeError, "not int"),
    ],
)
def test_a_url_that_cannot_be_is_refused_at_construction(url: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WebSocketPool(url)


def test_a_refused_url_is_not_shown_whole() -> None:
    with pytest.raises(ValueError, match="scheme 'ftp'") as refusal:
        WebSocketPool("ftp://user:pa55word@host/?token=pa55word")
    assert "pa55word" not in str(refusal.value)


def test_options_are_checked_at_construction() -> None:
    with pytest.raises(ValueError, match="max_msg_size"):
        WebSocketPool("ws://host/", max_msg_size=0)
    with pytest.raises(ValueError, match="heartbeat"):
        WebSocketPool("ws://host/", heartbeat=0)
    with pytest.raises(ValueError, match="name that HTTP does not allow"):
        WebSocketPool("ws://host/", headers={"a b": "c"})


def unsent(websocket: WatchedWebSocket) -> int:
    return int(websocket._writer.transport.get_write_buffer_size())


async def test_a_peer_that_reads_no_more_holds_no_socket_open() -> None:
    """What the peer does not take would keep a transport open that is closed, and not aborted."""
    taken: list[asyncio.StreamWriter] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.encode() + WS_KEY).digest()).decode()
        answer = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        writer.write(f"{answer}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def send_on(websocket: WatchedWebSocket) -> None:
        while True:
            await websocket.send_bytes(bytes(2**20))

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, WebSocketPool(url, close_timeout=0.1) as pool:
        lease = await pool.acquire()
        wire = lease.connection.get_extra_info("socket")
        sending = asyncio.ensure_future(send_on(lease.connection))
        await eventually(lambda: unsent(lease.connection) > 0)
        sending.cancel()
        await asyncio.wait([sending])
        lease.discard()
        await pool.aclose()
        await eventually(lambda: wire.fileno() == -1)
        taken[0].transport.abort()
