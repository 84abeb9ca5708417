"""The connector on uvloop, whose transports derive from nothing and whose insides are out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from raw_agent import RawAgent, eventually

from swarmpool import AgentPool, FailureKind

uvloop = pytest.importorskip("uvloop")


def on_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):  # pytest's own limit cannot interrupt a loop that waits in C
            await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def test_requests_are_served_counted_and_leave_nothing() -> None:
    """An assertion about the transport's class failed every request."""

    async def main() -> None:
        async with RawAgent() as agent:
            async with AgentPool([agent.endpoint] * 4, connector_limit=2) as pool:
                assert all(response.success for response in await pool.send_all(["hi"] * 50))
                now = pool.statistics().connections
                assert (now.opened, now.reused, now.peak_open) == (2, 48, 2)
            assert pool.statistics().connections.open == 0
            await eventually(lambda: agent.open_now == 0)

    on_uvloop(main)


def test_cancelled_at_any_step_a_request_loses_nothing() -> None:
    """A socket that is cancelled in the turn in which it connects gets no connection_lost there: it was waited for."""

    @asynccontextmanager
    async def scene(agent: RawAgent) -> AsyncIterator[Coroutine[Any, Any, object]]:
        async with AgentPool([agent.endpoint], connector_limit=1) as pool:
            yield pool.post(0, "hi")
            assert (await pool.post(0, "hi")).success
        end = pool.statistics().connections
        assert (end.open, end.opened - end.closed) == (0, 0)

    async def main() -> None:
        async with RawAgent() as agent:
            assert await cancel_at_every_step(partial(scene, agent)) > 3

    on_uvloop(main)


def test_a_large_post_at_a_deaf_peer_is_cut_at_the_close() -> None:
    async def main() -> None:
        async with RawAgent(deaf=True) as agent:
            pool = AgentPool([agent.endpoint])
            request = asyncio.create_task(pool.post(0, "x" * 10_000_000))
            await eventually(lambda: agent.connections)
            await pool.close(drain=0)
            assert (await request).kind is FailureKind.CLOSED
            assert pool.statistics().connections.open == 0

    on_uvloop(main)


def test_a_pool_dropped_while_it_runs_ends_its_sockets() -> None:
    async def main() -> None:
        async with RawAgent() as agent:
            pool = AgentPool([agent.endpoint])
            await pool.post(0, "hi")
            with pytest.warns(ResourceWarning, match="Unclosed pool"):
                del pool
            await eventually(lambda: agent.open_now == 0)

    on_uvloop(main)
