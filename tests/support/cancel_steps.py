"""Cancels a piece of work after 0, 1, 2, ... turns of the loop, until it is quicker than the cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

__all__ = ["MOST_STEPS", "cancel_at_every_step"]

MOST_STEPS = 2_000

Scene = Callable[[], AbstractAsyncContextManager[Coroutine[Any, Any, object]]]


async def cancel_at_every_step(scene: Scene) -> int:
    """Return how many steps there were.

    `scene` makes the surroundings afresh for each step, gives the victim's coroutine, and on leaving checks that
    nothing is lost. A victim that is not done when it is cancelled must end cancelled: a swallowed cancellation fails.
    """
    for step in range(MOST_STEPS):
        async with scene() as victim:
            if await ended_before_cancelled(victim, step):
                return step
    raise AssertionError(f"the victim was still running after {MOST_STEPS} turns of the loop")


async def ended_before_cancelled(victim: Coroutine[Any, Any, object], step: int) -> bool:
    """Run `victim` for `step` turns and cancel it; whether it was done by then. Its own errors are raised."""
    task = asyncio.ensure_future(victim)
    for _ in range(step):
        if task.done():
            break
        await asyncio.sleep(0)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), f"cancelled after {step} turns, it ended with {task!r}"
    return False
