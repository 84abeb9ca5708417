import asyncio

import pytest

from swarmpool.deadline import Deadline, Deadlines


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

    async def expire_twice_inside() -> None:
        with deadline:
            assert deadline.expire()
            assert deadline.expire(), "a second call changes nothing"
            await for_ever()

    with pytest.raises(TimeoutError):
        await expire_twice_inside()
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
    task = asyncio.current_task()
    assert task is not None

    async def fail_when_cancelled() -> None:
        with deadline:
            deadline.expire()
            try:
                await for_ever()
            except asyncio.CancelledError:
                raise KeyError("broken") from None

    with pytest.raises(KeyError):
        await fail_when_cancelled()
    assert task.cancelling() == 0


async def test_outside_a_task_it_says_so() -> None:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[str] = loop.create_future()

    def callback() -> None:
        try:
            Deadline(loop, None).__enter__()
        except RuntimeError as error:
            outcome.set_result(str(error))

    loop.call_soon(callback)
    assert "inside a task" in await outcome


async def test_limits_of_one_length_come_due_in_their_order_and_those_that_left_do_not() -> None:
    loop = asyncio.get_running_loop()
    deadlines, ended = Deadlines(loop), list[str]()
    start = loop.time()

    async def wait(name: str, when: float, leave: asyncio.Event | None = None) -> None:
        try:
            with Deadline(loop, when, deadlines):
                await (leave.wait() if leave else for_ever())
                ended.append(f"{name} left")
        except TimeoutError:
            ended.append(f"{name} timed out")

    leave = asyncio.Event()
    early = [asyncio.create_task(wait(name, start + 0.001)) for name in ("first", "second")]
    late = [asyncio.create_task(wait(name, start + 60, leave)) for name in ("third", "fourth")]
    await asyncio.gather(*early)
    leave.set()
    await asyncio.gather(*late)
    assert ended == ["first timed out", "second timed out", "third left", "fourth left"]


async def test_a_limit_among_others_can_be_made_due_alone() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    one, other = (Deadline(loop, loop.time() + 60, deadlines) for _ in range(2))

    async def wait(deadline: Deadline) -> None:
        with deadline:
            await for_ever()

    tasks = [asyncio.create_task(wait(deadline)) for deadline in (one, other)]
    await asyncio.sleep(0)
    assert one.expire()
    with pytest.raises(TimeoutError):
        await tasks[0]
    assert (one.due, other.due) == (True, False)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
