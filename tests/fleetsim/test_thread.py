from __future__ import annotations

import asyncio
import threading
from typing import Self

import pytest

from fleetsim.errors import FleetError
from fleetsim.thread import LoopThread, Threaded


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


class Place(Threaded):
    """Knows in which thread it was entered and left."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.seen = error, list[str]()

    async def __aenter__(self) -> Self:
        self.seen.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return self

    async def __aexit__(self, *_: object) -> None:
        self.seen.append(threading.current_thread().name)


def test_a_plain_with_enters_and_leaves_in_one_thread() -> None:
    with Place() as place:
        assert place.run(where())[0] == "fleetsim"
    assert place.seen == ["fleetsim", "fleetsim"]
    with pytest.raises(FleetError, match="only a fleet entered with a plain `with`"):
        place.run(where())


def test_an_entry_that_fails_leaves_no_thread() -> None:
    with pytest.raises(ArithmeticError, match="not today"), Place(ArithmeticError("not today")):
        pytest.fail("it cannot be entered")  # pragma: no cover


async def test_in_a_running_loop_it_says_what_to_write_instead() -> None:
    with pytest.raises(FleetError, match=r"an event loop is running here: use `async with Place\(\.\.\.\)`"), Place():
        pytest.fail("it cannot be entered")  # pragma: no cover
