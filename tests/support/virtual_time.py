"""An event loop without waiting: when nothing is ready, its clock jumps to the next timer.

For code that touches no socket. A loop that has nothing left to wait for raises `Stalled` where a real one would hang.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Stalled", "VirtualTimeLoop", "run"]

T = TypeVar("T")


class Stalled(AssertionError):
    """Nothing is ready and no timer is armed: whoever waits, waits for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: the time it was told to wait passes on `loop`'s clock."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stalled("nothing is ready and no timer is armed")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`now` is its clock, in seconds; it moves only when nothing is ready, or by `advance`."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.now = 1_000.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def turn(self, times: int = 1) -> None:
        """Run what is ready now, without moving the clock."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass; the timers that come due run one by one, each at its own time."""

        async def pass_time() -> None:
            await asyncio.sleep(seconds)

        self.run_until_complete(pass_time())

    def armed_timers(self) -> int:
        """Timers that have not been cancelled."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio keeps no public list
        return sum(not timer.cancelled() for timer in timers)

    def close_clean(self) -> None:
        """Close, once it is checked that no task and no timer is left."""
        self.turn(2)
        tasks, timers = asyncio.all_tasks(self), self.armed_timers()
        self.close()
        assert not tasks
        assert not timers


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `work` returns, from a loop of its own that must be left without tasks and timers."""
    loop = VirtualTimeLoop()
    try:
        result = loop.run_until_complete(work())
        loop.run_until_complete(loop.shutdown_asyncgens())
    except BaseException:
        loop.close()
        raise
    loop.close_clean()
    return result
