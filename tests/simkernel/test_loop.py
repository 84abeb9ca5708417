from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest

import simkernel
from simkernel import Net, SimLoop


def loop() -> SimLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, SimLoop)
    return running


def test_the_ready_queue_is_first_in_first_out() -> None:
    async def main(net: Net) -> list[int]:
        seen: list[int] = []
        for number in range(100):
            loop().call_soon(seen.append, number)
        await asyncio.sleep(0)
        return seen

    for seed in range(5):
        assert simkernel.run(main, seed=seed, latency=0).value == list(range(100))


def test_work_for_a_thread_is_done_in_the_loop_a_moment_later() -> None:
    async def main(net: Net) -> tuple[int, bool]:
        started = net.now
        value = await asyncio.to_thread(lambda: 7)
        return value, 0 < net.now - started < 0.01

    assert simkernel.verify(main).value == (7, True)


def test_what_such_work_raises_is_its_callers() -> None:
    async def main(net: Net) -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        simkernel.run(main)


def test_such_work_is_not_done_once_it_is_cancelled() -> None:
    async def main(net: Net) -> list[int]:
        seen: list[int] = []
        loop().run_in_executor(None, seen.append, 1).cancel()
        await asyncio.sleep(1)
        return seen

    assert simkernel.run(main).value == []


def test_a_call_after_turns_comes_after_exactly_so_many() -> None:
    async def main(net: Net) -> list[str]:
        seen: list[str] = []
        loop().call_after_turns(3, lambda: seen.append("called"))
        for turn in range(5):
            await asyncio.sleep(0)
            seen.append(str(turn))
        return seen

    assert simkernel.run(main).value == ["0", "1", "2", "called", "3", "4"]


def test_a_sleeping_program_is_late_with_everything() -> None:
    async def main(net: Net) -> float:
        started = net.now
        timer = loop().create_future()
        loop().call_later(1, timer.set_result, None)
        time.sleep(5)  # noqa: ASYNC251  # that it stands still is the point
        await timer
        return net.now - started

    assert simkernel.run(main).value == 5


def test_sets_of_tasks_have_the_order_of_their_creation() -> None:
    async def main(net: Net) -> list[Any]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=str(number)) for number in range(8)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert simkernel.run(main).value == simkernel.run(main).value


def test_a_signal_is_sent_by_hand() -> None:
    async def main(net: Net) -> bool:
        seen = asyncio.Event()
        loop().add_signal_handler(signal.SIGTERM, seen.set)
        loop().send_signal(signal.SIGTERM)
        await seen.wait()
        return loop().remove_signal_handler(signal.SIGTERM)

    assert simkernel.run(main).value
