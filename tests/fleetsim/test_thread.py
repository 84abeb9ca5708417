from __future__ import annotations

import asyncio
import threading

import pytest

from fleetsim.thread import LoopThread


async def where() -> tuple[str, asyncio.AbstractEventLoop]:
    return threading.current_thread().name, asyncio.get_running_loop()


def test_work_runs_in_one_loop_in_a_thread_of_its_own() -> None:
    thread = LoopThread("elsewhere")
    name, loop = thread.run(where())
    assert name == "elsewhere"
    assert thread.run(where()) == (name, loop)
    thread.stop()
    assert loop.is_closed()


def test_what_work_raises_is_raised() -> None:
    async def fail() -> None:
        raise ArithmeticError("not today")

    thread = LoopThread("elsewhere")
    with pytest.raises(ArithmeticError, match="not today"):
        thread.run(fail())
    thread.stop()


def test_stopping_cancels_what_still_runs() -> None:
    cancelled = threading.Event()

    async def for_ever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    tasks = []

    async def begin() -> None:
        tasks.append(asyncio.create_task(for_ever()))
        await asyncio.sleep(0)

    thread = LoopThread("elsewhere")
    thread.run(begin())
    thread.stop()
    assert cancelled.is_set()
