"""The life of a tree: how it opens, who may use it, and above all how it closes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, chunk, eventually, says, sse_head

from swarmpool import AgentPool, FailureKind, PoolClosed, Response, VLLMPool, WrongEventLoop
from swarmpool.lifecycle import State

NOBODY = [("127.0.0.1", 9)]


def silent(connection: RawConnection) -> None:
    """Read the request and never answer."""


async def in_flight(agent: RawAgent, number: int = 1) -> None:
    await eventually(lambda: len(agent.requests) == number)


def state_of(pool: AgentPool) -> State:
    return pool.statistics().state


# ------------------------------------------------------------------------------------------------------------- opening


async def test_a_pool_that_was_never_entered_opens_at_its_first_request() -> None:
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        assert state_of(pool) is State.NEW
        assert pool._session is None
        assert (await pool.post(0, "hi")).unwrap() == "hello"
        assert state_of(pool) is State.OPEN
        assert pool._session is not None
        await pool.close()
    assert state_of(pool) is State.CLOSED


async def test_entering_opens_and_leaving_closes() -> None:
    pool = AgentPool(NOBODY)
    async with pool as entered:
        assert entered is pool
        assert state_of(pool) is State.OPEN
        async with pool:
            session = pool._session
        assert state_of(pool) is State.CLOSED
    assert session is not None
    assert session.closed


async def test_views_made_before_during_and_after_entry_share_the_one_session_and_limiter() -> None:
    async with RawAgent() as agent:
        root = AgentPool([agent.endpoint, agent.endpoint])
        before = root.slice(0, 1)
        async with root:
            during = before.select([0])
            responses = [await pool.post(0, "hi") for pool in (before, root, during, root.sample(1, seed=1))]
        assert [response.connection for response in responses] == ["new", "reused", "reused", "reused"]
        assert agent.opened == 1
        assert before._session is root._session is during._session
        assert before._semaphore is root._semaphore is during._semaphore


def test_a_pool_is_made_and_closed_outside_any_loop() -> None:
    pool = AgentPool(NOBODY)
    asyncio.run(pool.close())
    assert state_of(pool) is State.CLOSED


def test_use_from_a_second_event_loop_is_a_named_error() -> None:
    pool = AgentPool(NOBODY)
    asyncio.run(pool.__aenter__())
    uses: list[Callable[[], Coroutine[Any, Any, object]]] = [
        pool.__aenter__,
        partial(pool.post, 0, "hi"),
        partial(pool.send_all, ["hi"]),
        pool.close,
    ]
    for use in uses:
        with pytest.raises(WrongEventLoop, match=r"AgentPool\(1 agents, first http://127\.0\.0\.1:9\)"):
            asyncio.run(use())
    del uses, use, pool
    with pytest.warns(ResourceWarning, match="Unclosed pool"):
        gc.collect()  # the errors' tracebacks hold it in a cycle


def test_a_metadata_request_from_a_second_event_loop_is_the_same_error() -> None:
    """It runs as a task of the tree: that task must not be started in a loop that is not the tree's."""
    pool = VLLMPool(NOBODY)
    asyncio.run(pool.__aenter__())
    with pytest.raises(WrongEventLoop):
        asyncio.run(pool.post(0, "hi"))
    del pool
    with pytest.warns(ResourceWarning, match="Unclosed pool"):
        gc.collect()


# ------------------------------------------------------------------------------------------------------------- closing


async def test_a_pool_that_never_opened_closes_as_often_as_one_likes() -> None:
    """The second close used to say that the pool had been opened in another event loop."""
    pool = AgentPool(NOBODY)
    await pool.close()
    await pool.close()
    with pytest.raises(PoolClosed):
        await pool.post(0, "hi")
    with pytest.raises(PoolClosed):
        async with pool:
            pass


def test_closing_what_is_closed_does_nothing_in_whichever_loop() -> None:
    pool = AgentPool(NOBODY)

    async def enter_and_leave() -> None:
        async with pool:
            pass

    asyncio.run(enter_and_leave())
    asyncio.run(pool.close())
    assert state_of(pool) is State.CLOSED


async def test_all_who_close_return_when_it_is_done() -> None:
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        await pool.post(0, "hi")

        async def close() -> tuple[State, int]:
            await pool.close()
            return state_of(pool), pool.statistics().connections.open

        assert await asyncio.gather(*(close() for _ in range(5))) == [(State.CLOSED, 0)] * 5
        assert pool.statistics().connections.closed == 1
        await eventually(lambda: agent.open_now == 0)


async def test_requests_under_way_may_end_within_the_drain() -> None:
    answer = asyncio.Event()

    def later(connection: RawConnection) -> None:
        waits.append(asyncio.create_task(answer_when_told(connection)))

    async def answer_when_told(connection: RawConnection) -> None:
        await answer.wait()
        connection.write(says("in time"))

    waits: list[asyncio.Task[None]] = []
    async with RawAgent(later) as agent:
        pool = AgentPool([agent.endpoint])
        request = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        closing = asyncio.create_task(pool.close(drain=60))
        await eventually(lambda: state_of(pool) is State.CLOSING)
        with pytest.raises(PoolClosed, match="closing"):
            await pool.post(0, "too late")
        answer.set()
        await closing
        assert (await request).unwrap() == "in time"
    await asyncio.gather(*waits)


async def test_what_outlasts_the_drain_is_a_result_of_kind_closed_and_no_cancellation() -> None:
    """Plain `session.close()` throws a CancelledError nobody sent at some, and leaves readers hanging (aiohttp)."""
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint] * 3)
        owner = asyncio.create_task(pool.post(2, "hi"))
        await in_flight(agent)
        await pool.close(drain=0)
        response = await owner
        assert owner.cancelling() == 0
        assert response.kind is FailureKind.CLOSED
        assert (response.agent_index, response.tree_index, response.endpoint) == (2, 2, agent.endpoint)
        await eventually(lambda: agent.open_now == 0)


async def test_a_reader_in_mid_body_is_cut_off_too() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    async with RawAgent(respond) as agent:
        pool = AgentPool([agent.endpoint])
        owner = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        await pool.close(drain=0)
        assert (await owner).kind is FailureKind.CLOSED


async def test_those_who_wait_for_a_slot_fail_at_once_whatever_the_drain() -> None:
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint], concurrency=1)
        owner = asyncio.create_task(pool.post(0, "holds the slot"))
        await in_flight(agent)
        waiting = [asyncio.create_task(pool.post(0, "waits")) for _ in range(3)]
        many = asyncio.create_task(pool.send_all(["one", "two"]))
        await eventually(lambda: pool.statistics().admission.waiting == 4)
        closing = asyncio.create_task(pool.close(drain=60))
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [PoolClosed] * 3
        assert [response.kind for response in await many] == [FailureKind.CLOSED] * 2
        assert not owner.done()
        await pool.close(drain=0)
        await closing
        assert (await owner).kind is FailureKind.CLOSED


async def test_a_later_close_shortens_the_drain_and_never_lengthens_it() -> None:
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint])
        owner = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        closing = [asyncio.create_task(pool.close(drain=60))]
        await eventually(lambda: state_of(pool) is State.CLOSING)
        closing += [asyncio.create_task(pool.close(drain=seconds)) for seconds in (0, 90)]
        async with asyncio.timeout(10):
            await asyncio.gather(*closing)
        assert (await owner).kind is FailureKind.CLOSED


async def test_the_soonest_drain_counts_even_among_closes_of_one_instant() -> None:
    """The first one's task had not begun to wait when the second came, which then had no effect."""
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint])
        owner = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        async with asyncio.timeout(10):
            await asyncio.gather(pool.close(drain=60), pool.close(drain=0))
        assert (await owner).kind is FailureKind.CLOSED


async def test_a_cancelled_close_still_closes() -> None:
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint])
        owner = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        first = asyncio.create_task(pool.close(drain=60))
        await eventually(lambda: state_of(pool) is State.CLOSING)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not owner.done()
        await pool.close(drain=0)
        assert state_of(pool) is State.CLOSED
        assert (await owner).kind is FailureKind.CLOSED


async def test_close_may_be_called_by_whoever_holds_the_last_request() -> None:
    """It must not wait for its own caller."""
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])

        async def post_and_close() -> Response:
            response = await pool.post(0, "hi")
            await pool.close()
            return response

        async def close_in_mid_stream() -> None:
            async for _ in other.stream(0, "hi"):
                await other.close(drain=0)

        assert (await post_and_close()).success
        agent.respond = lambda connection: connection.write(sse_head(), chunk('{"text":"a"}'))
        other = AgentPool([agent.endpoint])
        await close_in_mid_stream()
        assert state_of(other) is State.CLOSED


async def test_a_callback_of_a_request_may_start_the_close() -> None:
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        request = asyncio.create_task(pool.post(0, "hi"))
        closing: list[asyncio.Task[None]] = []
        request.add_done_callback(lambda _: closing.append(asyncio.create_task(pool.close())))
        assert (await request).success
        await eventually(lambda: closing)
        await closing[0]
        assert pool.statistics().connections.open == 0


async def test_a_request_that_is_cancelled_while_the_pool_closes_ends_cancelled() -> None:
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint])
        owner = asyncio.create_task(pool.post(0, "hi"))
        await in_flight(agent)
        closing = asyncio.create_task(pool.close(drain=0))
        await asyncio.sleep(0)
        owner.cancel()
        await asyncio.wait([owner])
        assert owner.cancelled()
        await closing
        assert pool.statistics().admission.in_flight == 0


async def test_a_closed_pool_keeps_no_task_and_no_timer() -> None:
    loop = asyncio.get_running_loop()
    async with RawAgent() as agent, AgentPool([agent.endpoint], queue_timeout=60, concurrency=1) as pool:
        await pool.send_all(["hi"] * 3)
        await pool.close()
        armed = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert armed == []
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_view_neither_opens_nor_closes_the_tree() -> None:
    async with RawAgent(silent) as agent:
        pool = AgentPool([agent.endpoint, agent.endpoint])
        async with pool.slice(0, 1):
            assert state_of(pool) is State.NEW
        async with pool:
            owner = asyncio.create_task(pool.post(0, "hi"))
            await in_flight(agent)
            async with pool.slice(0, 1) as view:
                await view.close(drain=0)
            await view.select([0]).close(drain=0)
            assert state_of(pool) is State.OPEN
            assert not owner.done()
            agent.connections[0].write(says())
            assert (await owner).success


async def test_every_call_on_every_view_of_a_closed_tree_raises() -> None:
    async with AgentPool([*NOBODY, *NOBODY]) as root:
        view = root.slice(0, 1)
    for pool in (root, view, VLLMPool([*NOBODY, *NOBODY])):
        await pool.close()
        await root.close()
        if not isinstance(pool, VLLMPool):
            await check_that_everything_raises(pool)
    vllm = VLLMPool([*NOBODY, *NOBODY])
    await vllm.close()
    await check_that_everything_raises(vllm)


async def check_that_everything_raises(pool: AgentPool) -> None:
    """Even calls that are wrong in another way too: that the pool is closed comes first."""
    makes: list[Callable[[], object]] = [
        partial(pool.by_tag, "key", "value"),
        partial(pool.sample, 1),
        partial(pool.select, [0]),
        partial(pool.select, [99]),
        partial(pool.slice, 0, 1),
        partial(pool.stream, 0, "hi"),
        partial(pool.stream, 99, "hi"),
    ]
    for make in makes:
        with pytest.raises(PoolClosed):
            make()
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        partial(pool.post, 0, "hi"),
        partial(pool.post, 99, "hi"),
        partial(pool.post_batch, 0, ["hi"]),
        partial(pool.post_batch, 0, []),
        partial(pool.send_all, ["hi"]),
        partial(pool.send_all, []),
        partial(pool.send_all_batched, ["hi"]),
        partial(pool.broadcast_prompt, "hi"),
        pool.__aenter__,
    ]
    for call in calls:
        with pytest.raises(PoolClosed):
            await call()
    with pytest.raises(PoolClosed):
        async for _ in pool.stream_all(["hi"]):
            pass


async def test_a_negative_drain_is_refused_and_changes_nothing() -> None:
    async with AgentPool(NOBODY) as pool:
        with pytest.raises(ValueError, match="drain must be a number of seconds of at least 0, not -1"):
            await pool.close(drain=-1)
        assert state_of(pool) is State.OPEN


def test_a_loop_that_shuts_down_in_the_middle_of_a_close_finishes_it() -> None:
    """`asyncio.run` cancels what is left, the closing among it: no socket may be left then."""

    async def main() -> AgentPool:
        async with RawAgent(silent) as agent:
            pool = AgentPool([agent.endpoint])
            tasks.append(asyncio.create_task(pool.post(0, "hi")))
            await in_flight(agent)
            tasks.append(asyncio.create_task(pool.close(drain=60)))
            await eventually(lambda: state_of(pool) is State.CLOSING)
        return pool

    tasks: list[asyncio.Task[Any]] = []
    pool = asyncio.run(main())
    assert state_of(pool) is State.CLOSED
    assert pool.statistics().connections.open == 0
