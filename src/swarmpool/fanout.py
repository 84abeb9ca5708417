"""Many prompts, few tasks: results in the order of the prompts, or as they come.

A task for every prompt would hold a million of them before the first answer. Here there are as many workers as requests
may be in flight, and each takes its next prompt when its last is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

__all__ = ["Turns", "as_finished", "check_prompts", "in_order", "interleaved"]

T = TypeVar("T")
R = TypeVar("R")

Job = tuple[int, Any]
Put = Callable[[R], Awaitable[None]]


class _End:
    """Behind the last result."""


_END = _End()


class Turns:
    """Hands out `(index, prompt)`: in order, but never more than `cap` at once for one lane (`index % lanes`).

    Without it a cap per agent would let workers pile up before one slow agent while the others idle. `cap` None means
    plain order, and so do prompts that are no sequence: what comes later in them cannot be taken first. `done(index)`
    tells that a job is over.
    """

    def __init__(self, prompts: Iterable[Any], lanes: int, cap: int | None) -> None:
        self._prompts = prompts
        self._lanes = lanes
        self._cap = cap
        self._plain: Iterator[Job] | None = None
        if cap is None or not isinstance(prompts, Sequence):
            self._plain = iter(enumerate(prompts))
        else:
            self._next = list(range(min(lanes, len(prompts))))
            self._room = [cap] * len(self._next)
            self._ready = deque(self._next)

    def take(self) -> Job | None:
        """The next job; None if there is none now (its lane's own workers will take what is left)."""
        if self._plain is not None:
            return next(self._plain, None)
        if not self._ready:
            return None
        lane = self._ready.popleft()
        index = self._next[lane]
        self._next[lane] += self._lanes
        self._room[lane] -= 1
        self._offer(lane, had_room=False)
        assert isinstance(self._prompts, Sequence)
        return index, self._prompts[index]

    def done(self, index: int) -> None:
        """The job with that index is over."""
        if self._plain is None:
            lane = index % self._lanes
            self._room[lane] += 1
            self._offer(lane, had_room=self._room[lane] > 1)

    def _offer(self, lane: int, *, had_room: bool) -> None:
        """Make a lane ready again, unless it is already (a lane with room and jobs always is)."""
        assert isinstance(self._prompts, Sequence)
        if self._room[lane] > 0 and not had_room and self._next[lane] < len(self._prompts):
            self._ready.append(lane)


async def _work(
    turns: Turns, do: Callable[[int, Any], Awaitable[R]], store: Callable[[int, R], Awaitable[None]]
) -> None:
    while (job := turns.take()) is not None:
        index, prompt = job
        try:
            result = await do(index, prompt)
        finally:
            turns.done(index)
        await store(index, result)


async def _together(workers: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all to their end; if one raises, or this is cancelled, end the others first."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def in_order(turns: Turns, workers: int, do: Callable[[int, Any], Awaitable[R]]) -> list[R]:
    """The result of every job, in the order of the prompts. Cancelling it cancels all that is under way, and waits."""
    results: dict[int, R] = {}

    async def store(index: int, result: R) -> None:
        results[index] = result

    await _together([_work(turns, do, store) for _ in range(workers)])
    return [results[index] for index in range(len(results))]


async def as_finished(turns: Turns, workers: int, do: Callable[[int, Any], Awaitable[R]]) -> AsyncGenerator[R, None]:
    """Results as they come; leaving early cancels all that is under way.

    At most `workers` results wait to be taken, and each worker may hold one more: then all stand still.
    """

    def crew(put: Put[R]) -> list[Coroutine[Any, Any, None]]:
        async def store(_: int, result: R) -> None:
            await put(result)

        return [_work(turns, do, store) for _ in range(workers)]

    async with aclosing(_gathered(workers, crew)) as results:
        async for result in results:
            yield result


async def interleaved(
    turns: Turns, workers: int, produce: Callable[[int, Any, Put[R]], Awaitable[None]]
) -> AsyncGenerator[R, None]:
    """What many jobs produce piece by piece, as it comes: `produce(index, prompt, put)` awaits `put` for each piece.

    Leaving early, and how much waits to be taken, are as in `as_finished`.
    """

    def crew(put: Put[R]) -> list[Coroutine[Any, Any, None]]:
        async def do(index: int, prompt: Any) -> None:
            await produce(index, prompt, put)

        return [_work(turns, do, _nothing) for _ in range(workers)]

    async with aclosing(_gathered(workers, crew)) as pieces:
        async for piece in pieces:
            yield piece


async def _nothing(_: int, __: None) -> None:
    """A job that has put its pieces has no result."""


async def _gathered(
    room_for: int, crew: Callable[[Put[R]], list[Coroutine[Any, Any, None]]]
) -> AsyncGenerator[R, None]:
    """What a crew puts, with at most `room_for` of it waiting."""
    finished: asyncio.Queue[R | _End] = asyncio.Queue()
    room = asyncio.Semaphore(room_for)

    async def put(result: R) -> None:
        await room.acquire()
        finished.put_nowait(result)

    running = asyncio.create_task(_together(crew(put)))
    running.add_done_callback(lambda _: finished.put_nowait(_END))
    try:
        while not isinstance(item := await finished.get(), _End):
            room.release()
            yield item
        running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def check_prompts(prompts: object) -> None:
    """Refuse one string, which is a collection of characters, and a sequence with anything else than text in it."""
    if isinstance(prompts, str):
        raise TypeError("prompts must be a collection of prompts, not one string")
    if isinstance(prompts, Sequence):
        for index, prompt in enumerate(prompts):
            if not isinstance(prompt, str):
                raise TypeError(f"prompts[{index}] must be text, not {type(prompt).__name__}")
