import asyncio

import pytest

from swarmpool.deadline import Deadline


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_wait_beyond_the_limit_is_a_timeout_and_leaves_the_task_uncancelled() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, loop.time() + 0.001)
    with pytest.raises(TimeoutError), deadline:
        await for_ever()
    assert deadline.due
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # would raise if a cancellation were still on its way


async def test_a_wait_within_the_limit_ends_without_it() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, loop.time() + 60)
    with deadline:
        await asyncio.sleep(0)
    assert not deadline.due


async def test_no_limit_means_never() -> None:
    with Deadline(asyncio.get_running_loop(), None):
        await asyncio.sleep(0)


async def test_expire_makes_the_limit_due_for_whoever_is_inside() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, None)
    loop.call_soon(deadline.expire)
    with pytest.raises(TimeoutError), deadline:
        await for_ever()


async def test_expire_says_whether_somebody_is_inside() -> None:
    deadline = Deadline(asyncio.get_running_loop(), None)
    assert not deadline.expire()
    with pytest.raises(TimeoutError), deadline:
        assert deadline.expire()
        assert deadline.expire(), "a second call changes nothing"
        await for_ever()
    assert not deadline.expire()


async def test_an_expiry_that_comes_too_late_is_forgotten() -> None:
    deadline = Deadline(asyncio.get_running_loop(), None)
    with deadline:
        deadline.expire()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not deadline.due


async def test_a_cancellation_from_elsewhere_goes_on() -> None:
    inside = asyncio.Event()

    async def victim() -> None:
        with Deadline(asyncio.get_running_loop(), None):
            inside.set()
            await for_ever()

    task = asyncio.create_task(victim())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_cancellation_from_elsewhere_wins_in_the_tick_of_the_expiry(ours_first: bool) -> None:
    loop = asyncio.get_running_loop()
    deadline, inside = Deadline(loop, None), asyncio.Event()

    async def victim() -> None:
        with deadline:
            inside.set()
            await for_ever()

    task = asyncio.create_task(victim())
    await inside.wait()
    if ours_first:
        deadline.expire()
        loop.call_soon(task.cancel)
    else:
        loop.call_soon(task.cancel)
        deadline.expire()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_another_error_in_the_tick_of_the_expiry_is_not_hidden() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, None)
    failing: asyncio.Future[None] = loop.create_future()
    deadline_task = asyncio.current_task()
    assert deadline_task is not None
    with pytest.raises(KeyError), deadline:
        deadline.expire()
        try:
            await failing
        except asyncio.CancelledError:
            raise KeyError("broken") from None
    assert deadline_task.cancelling() == 0


def test_outside_a_task_it_says_so() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="inside a task"), Deadline(loop, None):
            pass
    finally:
        loop.close()
