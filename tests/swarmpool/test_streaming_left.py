"""Streams that are left before their end: the connection is aborted, the slot is back at once, and it is counted."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from raw_agent import RawAgent, RawConnection, chunk, eventually, says, sse_head

from swarmpool import AgentPool, FailureKind, PoolStatistics, Stream

LAST = b"0\r\n\r\n"
A = '{"text":"a"}'
DONE = "[DONE]"


def writes(*pieces: bytes) -> Callable[[RawConnection], None]:
    """Answer every request with these bytes at once."""
    return lambda connection: connection.write(*pieces)


@asynccontextmanager
async def streaming(*pieces: bytes, **options: Any) -> AsyncIterator[tuple[RawAgent, AgentPool]]:
    async with RawAgent(writes(sse_head(), *pieces)) as agent, AgentPool([agent.endpoint], **options) as pool:
        yield agent, pool


def figures(pool: AgentPool) -> tuple[int, int, int]:
    """Slots in use, sockets acquired, sockets open."""
    now = pool.statistics()
    return now.admission.in_flight, now.connections.acquired, now.connections.open


async def texts(stream: Stream) -> list[str]:
    return [each.text async for each in stream]


async def check_left(agent: RawAgent, pool: AgentPool, abandoned: int = 1) -> None:
    """The slot is back at once; the connection is aborted; statistics say so; the pool works."""
    assert figures(pool)[:2] == (0, 0)
    statistics = pool.statistics()
    assert statistics.requests.abandoned_streams == abandoned
    assert statistics.requests.failed == abandoned
    await agent.connections[-1].lost.wait()
    agent.respond = writes(says("still works"))
    assert (await pool.post(0, "hi")).unwrap() == "still works"
    assert pool.statistics().connections.poisoned == 0


async def test_leaving_by_break_aborts_once_the_stream_is_let_go() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        async for each in pool.stream(0, "hi"):
            assert each.text == "a"
            break
        await check_left(agent, pool)


async def test_leaving_the_context_aborts_at_once() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        async with pool.stream(0, "hi") as stream:
            async for _ in stream:
                break
        await check_left(agent, pool)
        assert stream.response is not None
        assert stream.response.kind is FailureKind.ABANDONED
        assert stream.response.text == "a"


async def test_aclose_aborts_and_may_be_called_again() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        await check_left(agent, pool)
        assert await texts(stream) == []
        assert (await stream).kind is FailureKind.ABANDONED


async def test_aclose_after_the_end_changes_nothing() -> None:
    async with streaming(chunk(A, DONE), LAST) as (_, pool):
        stream = pool.stream(0, "hi")
        response = await stream
        await stream.aclose()
        assert stream.response is response
        assert pool.statistics().requests.abandoned_streams == 0


async def test_a_stream_left_before_it_began_sends_nothing() -> None:
    async with streaming(chunk(A)) as (agent, pool):
        stream = pool.stream(0, "hi")
        await stream.aclose()
        assert await texts(stream) == []
        with pytest.raises(RuntimeError, match="left already"):
            await stream
        assert agent.requests == []


async def test_a_stream_that_is_forgotten_aborts() -> None:
    """The tree's register of exchanges must not keep a stream alive that nobody else knows."""
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        gc.disable()
        try:
            del stream
            assert figures(pool)[:2] == (0, 0)
        finally:
            gc.enable()
        await check_left(agent, pool)


async def test_a_stream_in_a_cycle_aborts_when_it_is_collected() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        stream.__dict__["me"] = stream
        del stream
        gc.collect()
        await check_left(agent, pool)


async def test_a_stream_forgotten_by_another_thread_aborts_in_its_own() -> None:
    """It was not counted as abandoned then."""
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        holder = [pool.stream(0, "hi")]
        await anext(holder[0])
        thread = threading.Thread(target=holder.clear)
        thread.start()
        await asyncio.to_thread(thread.join)
        await eventually(lambda: figures(pool)[0] == 0)
        await check_left(agent, pool)


async def test_cancelling_the_reader_aborts() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        reader = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        await check_left(agent, pool)
        assert stream.response is not None
        assert stream.response.kind is FailureKind.ABANDONED


@pytest.mark.parametrize("head", [sse_head(), b""], ids=["reading the body", "waiting for the head"])
async def test_while_one_task_reads_no_other_may(head: bytes) -> None:
    """A second reader, or aclose, used to end the exchange under the first: counted twice, or its connection lost."""
    async with RawAgent(writes(head)) as agent, AgentPool([agent.endpoint]) as pool:
        stream = pool.stream(0, "hi")
        reader = asyncio.ensure_future(anext(stream))
        await eventually(lambda: agent.requests)
        with pytest.raises(RuntimeError, match="another task is reading this stream"):
            await anext(stream)
        with pytest.raises(RuntimeError, match="another task is reading this stream: cancel that task"):
            await stream.aclose()
        assert figures(pool)[:2] == (1, 1)
        agent.connections[0].write(b"" if head else sse_head(), chunk(A, DONE), LAST)
        assert (await reader).text == "a"
        assert (await stream).success
        assert pool.statistics().requests.failed == 0


async def test_leaving_while_it_waits_for_a_slot_leaves_the_queue() -> None:
    async with streaming(chunk(A), concurrency=1) as (agent, pool):
        first, second = pool.stream(0, "hi"), pool.stream(0, "hi")
        await anext(first)
        reader = asyncio.ensure_future(anext(second))
        await eventually(lambda: pool.statistics().admission.waiting == 1)
        reader.cancel()
        await asyncio.wait([reader])
        assert pool.statistics().admission.waiting == 0
        await first.aclose()
        await check_left(agent, pool)


async def test_cancelled_at_any_step_a_stream_loses_nothing() -> None:
    """The agent takes turns between its pieces and the terminator is late, so that every wait has steps of its own."""

    def respond(connection: RawConnection) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(connection.write, sse_head())
        for turns, piece in ((3, chunk(A)), (6, chunk(DONE)), (9, LAST)):
            after_turns(loop, turns, partial(write_if_open, connection, piece))

    @asynccontextmanager
    async def scene(agent: RawAgent) -> AsyncIterator[Coroutine[Any, Any, object]]:
        async with AgentPool([agent.endpoint], concurrency=1) as pool:
            yield texts(pool.stream(0, "hi"))
            assert (await pool.stream(0, "hi")).success
            assert figures(pool)[:2] == (0, 0)
        assert balanced(pool.statistics())

    async with RawAgent(respond) as agent:
        assert await cancel_at_every_step(partial(scene, agent)) > 10


def balanced(end: PoolStatistics) -> bool:
    sockets, queue = end.connections, end.admission
    return (sockets.open, sockets.opened - sockets.closed, queue.in_flight, queue.waiting) == (0, 0, 0, 0)


def after_turns(loop: asyncio.AbstractEventLoop, turns: int, call: Callable[[], None]) -> None:
    loop.call_soon(call if turns == 0 else partial(after_turns, loop, turns - 1, call))


def write_if_open(connection: RawConnection, piece: bytes) -> None:
    if not connection.wire.is_closing():
        connection.write(piece)
