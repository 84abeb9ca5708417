"""The step-cancel driver: it must visit every step and catch what it is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step

TURNS = 4


async def turns(number: int = TURNS) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_every_step_is_visited_once_and_the_number_returned() -> None:
    visited = 0

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        nonlocal visited
        visited += 1
        yield turns()

    steps = await cancel_at_every_step(scene)
    assert visited == steps + 1
    assert steps > TURNS


async def test_a_slot_lost_at_one_step_is_caught() -> None:
    async def careless(slots: asyncio.Semaphore) -> None:
        await slots.acquire()
        await turns()
        slots.release()

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        slots = asyncio.Semaphore(1)
        yield careless(slots)
        assert not slots.locked()

    with pytest.raises(AssertionError, match="locked"):
        await cancel_at_every_step(scene)


async def test_a_swallowed_cancellation_is_caught() -> None:
    async def deaf() -> None:
        try:
            await turns()
        except asyncio.CancelledError:
            return

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        yield deaf()

    with pytest.raises(AssertionError, match="cancelled after 1 turns, it ended with"):
        await cancel_at_every_step(scene)


async def test_an_error_of_the_victim_itself_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("not about cancelling")

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        yield fails()

    with pytest.raises(ValueError, match="not about cancelling"):
        await cancel_at_every_step(scene)
