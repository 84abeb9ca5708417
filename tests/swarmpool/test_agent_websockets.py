from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from raw_agent import eventually
from websocket_peer import WebSocketPeer

from swarmpool import (
    AcquireTimeout,
    AgentPool,
    BadIndex,
    ConnectFailed,
    ConnectTimeout,
    FailureKind,
    PoolClosed,
    Response,
    TooManyWaiting,
    WatchedWebSocket,
)
from swarmpool.lifecycle import State


async def echoed(websocket: WatchedWebSocket, text: str) -> str:
    await websocket.send_str(text)
    return str(await websocket.receive_str(timeout=20))


@asynccontextmanager
async def agents(number: int = 1, **options: Any) -> AsyncIterator[tuple[AgentPool, list[WebSocketPeer]]]:
    """A pool over so many agents."""
    peers = [WebSocketPeer() for _ in range(number)]
    async with AsyncExitStack() as stack:
        for peer in peers:
            await stack.enter_async_context(peer.serving())
        yield await stack.enter_async_context(AgentPool([peer.place for peer in peers], **options)), peers


def start(work: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


def kept(pool: AgentPool) -> int:
    return pool.statistics().admission.kept


async def test_websockets_go_over_the_session_of_the_tree() -> None:
    async with agents(2) as (pool, peers):
        for index in (0, 1):
            async with pool.websockets(index, "/ws").connection() as websocket:
                assert await echoed(websocket, f"{index}") == f"{index}"
        now = pool.statistics()
        assert (now.connections.opened, now.connections.open, now.admission.kept) == (2, 2, 2)
        assert [len(peer.sockets) for peer in peers] == [1, 1]


async def test_the_same_agent_and_path_have_one_pool_in_every_view() -> None:
    async with agents(2) as (pool, _):
        assert pool.websockets(1, "/ws") is pool.slice(1, 2).websockets(0, "/ws")
        assert pool.websockets(0, "/ws") is not pool.websockets(0, "/other")
        pool.websockets(0, "/limited", max_size=2)
        assert pool.websockets(0, "/limited", max_size=2) is pool.websockets(0, "/limited")
        with pytest.raises(ValueError, match="other options already"):
            pool.websockets(0, "/limited", max_size=3)


async def test_a_closed_websocket_pool_is_replaced_by_a_new_one() -> None:
    async with agents() as (pool, _):
        first = pool.websockets(0, "/ws")
        await first.prewarm()
        await first.aclose()
        assert kept(pool) == 0
        async with pool.websockets(0, "/ws").connection() as websocket:
            assert await echoed(websocket, "again") == "again"


async def test_an_open_websocket_takes_a_socket_and_no_slot() -> None:
    async with agents(concurrency=2, connector_limit=4) as (pool, _):
        leases = [await pool.websockets(0, "/ws").acquire() for _ in range(2)]
        answers = await pool.send_all(["hello"] * 6)
        assert all(answer.success for answer in answers)
        now = pool.statistics()
        assert (now.admission.capacity, now.admission.peak_in_flight, now.connections.peak_open) == (2, 2, 4)
        for lease in leases:
            lease.release()


async def test_sockets_never_exceed_the_limit_and_requests_keep_one() -> None:
    async with agents(concurrency=8, connector_limit=4) as (pool, [peer]):
        sockets = pool.websockets(0, "/ws")
        leases = [await sockets.acquire() for _ in range(3)]
        waiting = start(sockets.acquire())
        answers = await pool.send_all(["hello"] * 10)
        assert all(answer.success for answer in answers)
        assert not waiting.done()
        assert (pool.statistics().connections.peak_open, peer.peak_open) == (4, 3)
        leases[0].release()
        async with await waiting as lease:
            assert lease.reused
        for each in leases[1:]:
            each.release()


async def test_an_idle_websocket_gives_way_to_a_request_that_waits() -> None:
    async with agents(concurrency=8, connector_limit=3) as (pool, [peer]):
        await pool.websockets(0, "/ws").prewarm(2)
        assert kept(pool) == 2
        peer.gate.clear()
        requests = [start(pool.post(0, "hello")) for _ in range(3)]
        await eventually(lambda: pool.statistics().admission.in_flight == 3)
        assert (kept(pool), pool.websockets(0, "/ws").statistics().evicted) == (0, 2)
        peer.gate.set()
        answers: list[Response] = await asyncio.gather(*requests)
        assert all(answer.success for answer in answers)
        assert pool.statistics().connections.peak_open == 3


async def test_only_as_many_give_way_as_are_wanted_the_longest_idle_first() -> None:
    async with agents(2, concurrency=8, connector_limit=4) as (pool, peers):
        await pool.websockets(0, "/ws").prewarm()
        await pool.websockets(1, "/ws").prewarm(2)
        for peer in peers:
            peer.gate.clear()
        requests = [start(pool.post(1, "hello")) for _ in range(2)]
        await eventually(lambda: pool.statistics().admission.in_flight == 2)
        assert [pool.websockets(index, "/ws").statistics().idle for index in (0, 1)] == [0, 2]
        for peer in peers:
            peer.gate.set()
        await asyncio.gather(*requests)


async def test_a_websocket_that_comes_back_while_a_request_waits_gives_way() -> None:
    async with agents(concurrency=8, connector_limit=2) as (pool, [peer]):
        lease = await pool.websockets(0, "/ws").acquire()
        peer.gate.clear()
        requests = [start(pool.post(0, "hello")) for _ in range(2)]
        await eventually(lambda: pool.statistics().admission.waiting == 1)
        lease.release()
        await eventually(lambda: pool.statistics().admission.in_flight == 2)
        peer.gate.set()
        assert all(answer.success for answer in await asyncio.gather(*requests))


async def test_an_idle_websocket_gives_way_to_one_of_another_agent() -> None:
    async with agents(2, connector_limit=2) as (pool, _):
        await pool.websockets(0, "/ws").prewarm()
        async with pool.websockets(1, "/ws").connection() as websocket:
            assert await echoed(websocket, "hello") == "hello"
        assert pool.websockets(0, "/ws").statistics().evicted == 1


async def test_prewarming_fails_rather_than_make_requests_wait() -> None:
    async with agents(concurrency=8, connector_limit=4) as (pool, [peer]):
        peer.gate.clear()
        requests = [start(pool.post(0, "hello")) for _ in range(2)]
        await eventually(lambda: pool.statistics().admission.in_flight == 2)
        with pytest.raises(ConnectFailed) as refusal:
            await pool.websockets(0, "/ws").prewarm(3)
        assert isinstance(refusal.value.__cause__, TooManyWaiting)
        assert "3 more websockets need sockets, and 2 are to spare" in str(refusal.value.__cause__)
        assert (peer.open, kept(pool)) == (0, 0)
        peer.gate.set()
        await asyncio.gather(*requests)


async def test_prewarming_warms_as_many_as_there_can_be() -> None:
    async with agents(connector_limit=4) as (pool, [peer]):
        for _ in range(2):
            await pool.websockets(0, "/ws").prewarm(9)
        assert (kept(pool), len(peer.sockets)) == (3, 3)


async def test_callers_that_have_left_have_no_dial_wait_for_a_socket() -> None:
    """Each would shake hands for nobody, and have another websocket given up for it."""
    async with agents(connector_limit=2) as (pool, [peer]):
        sockets = pool.websockets(0, "/ws")
        lease = await sockets.acquire()
        left = await asyncio.gather(*(sockets.acquire(timeout=0.01) for _ in range(100)), return_exceptions=True)
        assert all(isinstance(each, TimeoutError) for each in left)
        assert sockets.statistics().open == 1
        lease.release()
        async with sockets.connection() as websocket:
            assert await echoed(websocket, "the same") == "the same"
        assert len(peer.sockets) == 1


async def test_a_single_socket_is_for_requests() -> None:
    async with agents(connector_limit=1) as (pool, _):
        with pytest.raises(TooManyWaiting, match="connector_limit=1"):
            await pool.websockets(0, "/ws").acquire()


async def test_a_handshake_on_a_connection_the_server_has_just_closed_takes_another() -> None:
    """An idle connection of requests is reused for the handshake, and its server may close it in that moment."""
    async with agents() as (pool, [peer]):
        await pool.post(0, "hello")
        assert pool.statistics().connections.idle == 1
        peer.close_next = True
        async with pool.websockets(0, "/ws").connection() as websocket:
            assert await echoed(websocket, "hello") == "hello"
        assert (pool.statistics().connections.opened, len(peer.sockets)) == (2, 1)


async def test_a_failed_handshake_gives_its_socket_back() -> None:
    async with agents(connector_limit=2) as (pool, [peer]):
        peer.refuse_with = 401
        sockets = pool.websockets(0, "/ws", reconnect_delay=None)
        for _ in range(3):
            with pytest.raises(Exception, match="401"):
                await sockets.acquire()
        assert kept(pool) == 0
        peer.refuse_with = None
        async with sockets.connection() as websocket:
            assert await echoed(websocket, "in") == "in"


async def test_a_caller_that_leaves_while_it_waits_for_a_socket_takes_its_dial_with_it() -> None:
    """The sockets are another agent's. A dial for nobody would have websockets given up that somebody may need."""
    async with agents(2, connector_limit=3) as (pool, peers):
        mine, other = pool.websockets(0, "/ws"), pool.websockets(1, "/ws")
        first, second = await mine.acquire(), await mine.acquire()
        waiting = [start(other.acquire()), start(other.acquire(timeout=0.01))]
        await eventually(lambda: other.statistics().attempts == 2)
        waiting[0].cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError, AcquireTimeout]
        await eventually(lambda: other.statistics().open == 0)
        first.release()
        second.release()
        assert (await pool.post(0, "hello")).success
        assert (mine.statistics().idle, kept(pool), peers[1].sockets) == (2, 2, [])


async def test_a_dial_that_waits_for_a_socket_is_given_up_when_its_caller_is_served_otherwise() -> None:
    async with agents(2, connector_limit=3) as (pool, peers):
        mine, other = pool.websockets(0, "/ws"), pool.websockets(1, "/ws")
        first, second = await mine.acquire(), await other.acquire()
        waiting = start(mine.acquire())
        await eventually(lambda: mine.statistics().dialing == 1)
        first.release()
        async with await waiting as lease:
            assert lease.reused
            await eventually(lambda: mine.statistics().dialing == 0)
        second.release()
        assert (len(peers[0].sockets), mine.statistics().failed, kept(pool)) == (1, 1, 2)


async def test_waiting_for_a_socket_is_no_part_of_connect_timeout_and_no_reason_to_back_off() -> None:
    async with agents(2, connector_limit=2) as (pool, _):
        lease = await pool.websockets(0, "/ws").acquire()
        other = pool.websockets(1, "/ws", connect_timeout=0.05, reconnect_delay=3600)
        waiting = start(other.acquire())
        await asyncio.sleep(0.2)  # longer than the limit that must not count
        assert not waiting.done()
        lease.release()
        async with await waiting as websocket:
            assert await echoed(websocket.connection, "well") == "well"
        assert other.statistics().failed == 0


async def test_a_handshake_over_the_tree_keeps_to_connect_timeout() -> None:
    async with agents(connector_limit=2) as (pool, [peer]):
        peer.gate.clear()
        with pytest.raises(ConnectTimeout, match=r"connect_timeout=0\.05") as raised:
            await pool.websockets(0, "/ws", connect_timeout=0.05).acquire()
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert kept(pool) == 0
        peer.gate.set()


async def test_closing_the_tree_gives_websockets_in_use_the_drain() -> None:
    async with agents() as (pool, [peer]):
        lease = await pool.websockets(0, "/ws").acquire()
        closing = start(pool.close(drain=20))
        await eventually(lambda: pool.statistics().state is State.CLOSING)
        assert await echoed(lease.connection, "last words") == "last words"
        lease.release()
        await closing
        await peer.until(0)
        assert (pool.statistics().connections.open, kept(pool)) == (0, 0)


async def test_closing_the_tree_closes_websockets_in_use_at_last() -> None:
    async with agents() as (pool, [peer]):
        sockets = pool.websockets(0, "/ws")
        await sockets.prewarm(2)
        lease = await sockets.acquire()
        await pool.close(drain=0)
        assert lease.connection.closed
        await peer.until(0)
        assert (pool.statistics().connections.open, kept(pool)) == (0, 0)
        with pytest.raises(PoolClosed):
            await sockets.acquire()
        with pytest.raises(PoolClosed):
            pool.websockets(0, "/ws")


async def test_misuse_is_refused_at_once() -> None:
    async with agents() as (pool, _):
        with pytest.raises(BadIndex):
            pool.websockets(1, "/ws")
        for name in ("ssl", "session"):
            with pytest.raises(TypeError, match=f"takes no {name}"):
                pool.websockets(0, "/ws", **{name: None})
        with pytest.raises(ValueError, match="path"):
            pool.websockets(0, "ws")


async def test_a_reset_under_a_websocket_disturbs_no_request() -> None:
    async with agents() as (pool, [peer]):
        lease = await pool.websockets(0, "/ws").acquire()
        assert peer.sockets[0]._req is not None
        assert peer.sockets[0]._req.transport is not None
        peer.sockets[0]._req.transport.abort()
        answer = await pool.post(0, "hello")
        assert answer.kind is None or answer.kind is FailureKind.RESET
        lease.discard()
        await eventually(lambda: kept(pool) == 0)


@pytest.mark.leaks
async def test_a_dropped_tree_says_so_once_and_its_websockets_end() -> None:
    peer = WebSocketPeer()
    async with peer.serving():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = AgentPool([peer.place])
            await pool.websockets(0, "/ws").prewarm(2)
            del pool
            gc.collect()
            await peer.until(0)
            gc.collect()
        told = [str(each.message) for each in caught]
        assert len(told) == 1, told
        assert told[0].startswith("Unclosed pool AgentPool")


async def test_prewarming_counts_each_socket_once() -> None:
    async with agents(connector_limit=8) as (pool, _):
        websockets = pool.websockets(0, "/ws")
        first = websockets.prewarm()
        await eventually(lambda: kept(pool) == 1)
        await websockets.prewarm(7)
        await first
        assert (websockets.statistics().idle, kept(pool)) == (7, 7)


async def test_prewarming_asks_for_no_more_sockets_than_max_size_allows() -> None:
    async with agents(connector_limit=4) as (pool, _):
        await pool.websockets(0, "/ws", max_size=2).prewarm(20)
        assert kept(pool) == 2


async def test_two_that_are_prewarmed_at_once_do_not_take_each_others_sockets() -> None:
    async with agents(2, connector_limit=4) as (pool, _):
        first, second = (pool.websockets(index, "/ws").prewarm(3) for index in (0, 1))
        await first
        with pytest.raises(ConnectFailed):
            await second
        assert (pool.websockets(0, "/ws").statistics().idle, kept(pool)) == (3, 3)


async def test_closing_the_tree_closes_a_pool_that_is_closing_and_replaced() -> None:
    async with agents() as (pool, _):
        first = pool.websockets(0, "/ws")
        lease = await first.acquire()
        closing = start(first.aclose(drain=600))
        await eventually(lambda: first.state is State.CLOSING)
        assert pool.websockets(0, "/ws") is not first
        await pool.close(drain=0)
        await closing
        assert (first.state, kept(pool)) == (State.CLOSED, 0)
        lease.release()


async def test_a_tree_that_was_never_opened_closes_its_websockets_too() -> None:
    async with WebSocketPeer().serving() as peer:
        pool = AgentPool([peer.place])
        websockets = pool.websockets(0, "/ws")
        await pool.close()
        assert websockets.state is State.CLOSED
        with pytest.raises(PoolClosed):
            await websockets.acquire()
