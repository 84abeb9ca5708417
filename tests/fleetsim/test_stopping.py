from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from fleetsim.stopping import entered, told_to_stop


class SlowFleet:
    """Something to be entered that is ready when it is told to, and what became of it."""

    def __init__(self) -> None:
        self.starting, self.ready = asyncio.Event(), asyncio.Event()
        self.steps: list[str] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        try:
            self.steps.append("starting")
            self.starting.set()
            await self.ready.wait()
        except asyncio.CancelledError:
            self.steps.append("cancelled")
            raise
        yield
        self.steps.append("left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    async with told_to_stop() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(20):
            await stop.wait()


async def test_what_is_told_to_stop_while_it_starts_is_not_waited_for() -> None:
    fleet, stop = SlowFleet(), asyncio.Event()
    async with AsyncExitStack() as stack:
        entering = asyncio.create_task(entered(stack, fleet.serving(), stop))
        await fleet.starting.wait()
        stop.set()
        assert await entering is False
    assert fleet.steps == ["starting", "cancelled"]


async def test_what_is_ready_is_left_with_the_stack() -> None:
    fleet, stop = SlowFleet(), asyncio.Event()
    fleet.ready.set()
    async with AsyncExitStack() as stack:
        assert await entered(stack, fleet.serving(), stop) is True
        assert fleet.steps == ["starting"]
    assert fleet.steps == ["starting", "left"]


async def test_what_entering_raises_is_raised() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        raise ArithmeticError("not today")
        yield

    async with AsyncExitStack() as stack:
        with pytest.raises(ArithmeticError, match="not today"):
            await entered(stack, failing(), asyncio.Event())


async def test_cancelling_it_cancels_the_entry() -> None:
    fleet = SlowFleet()
    async with AsyncExitStack() as stack:
        entering = asyncio.create_task(entered(stack, fleet.serving(), asyncio.Event()))
        await fleet.starting.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
    assert fleet.steps == ["starting", "cancelled"]
