"""Faults that hold for a server as a whole (`Standing`): when they begin and end on its doors.

Guarantees. Each rule begins once and ends once, when it is removed or its time is over, in the order it was asked for:
one task per server does one step after the other. What is asked for before the server listens begins before its
`start` returns. Asked for from the fleet's own loop a step is done as soon as the loop goes on, and `settled` waits
for it; from any other thread, the caller is held up until it is done.

What is hard: a server may end while a step runs. Then the step is cancelled, and nothing begins or ends any more; the
listener closes whatever socket a cancelled step has left it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque

from fleetsim.errors import BindError
from fleetsim.faults.kinds import Doors, Standing
from fleetsim.faults.rules import ArmedRule

__all__ = ["Doorkeeper"]

logger = logging.getLogger("fleetsim")


class Doorkeeper:
    """Lets standing faults begin and end on one server. All but `open` and `settled` may be called from any thread."""

    def __init__(self) -> None:
        self._doors: Doors | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_for: dict[ArmedRule, None] = {}
        self._standing: dict[ArmedRule, asyncio.TimerHandle | None] = {}
        self._steps: deque[tuple[ArmedRule, bool]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def open(self, doors: Doors) -> None:
        """The server listens from now on: what was asked for before begins. Cancelling it leaves that under way."""
        self._loop, self._doors = asyncio.get_running_loop(), doors
        for armed in tuple(self._asked_for):
            self._do(armed, begin=True)
        await self.settled()

    def begin(self, armed: ArmedRule) -> None:
        """Let it hold, now or when the server listens."""
        self._asked_for[armed] = None
        self._call(armed, begin=True)

    def end(self, armed: ArmedRule) -> None:
        """Take it back. Does nothing for what was not asked for, or has ended."""
        if self._asked_for.pop(armed, self) is not self:
            self._call(armed, begin=False)

    async def settled(self) -> None:
        """Return when all that was asked for has been done. Cancelling it changes nothing."""
        task = self._task
        if task is not None and not task.done() and self._loop is asyncio.get_running_loop():
            await asyncio.wait([task])

    def leave(self) -> None:
        """The server has ended: nothing begins or ends any more. In the fleet's loop."""
        self._doors = None
        self._steps.clear()
        for timer in self._standing.values():
            if timer is not None:
                timer.cancel()
        self._standing.clear()
        if self._task is not None:
            self._task.cancel()

    def _call(self, armed: ArmedRule, *, begin: bool) -> None:
        loop = self._loop
        if self._doors is None or loop is None or loop.is_closed():
            return
        if _running_loop() is loop:
            self._do(armed, begin=begin)
        else:
            asyncio.run_coroutine_threadsafe(self._do_now(armed, begin=begin), loop).result()

    async def _do_now(self, armed: ArmedRule, *, begin: bool) -> None:
        self._do(armed, begin=begin)
        await self.settled()

    def _do(self, armed: ArmedRule, *, begin: bool) -> None:
        self._steps.append((armed, begin))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._steps and self._doors is not None:
            armed, begin = self._steps.popleft()
            step = self._begin if begin else self._end
            try:
                await step(self._doors, armed)
            except BindError as error:
                logger.error("%s could not end: %s", armed.rule.fault.name, error)  # noqa: TRY400 (no bug of ours)

    async def _begin(self, doors: Doors, armed: ArmedRule) -> None:
        fault = armed.rule.fault
        if armed in self._standing or armed not in self._asked_for or not isinstance(fault, Standing):
            return
        await fault.begin(doors)
        armed.stands()
        self._standing[armed] = self._timer(armed)

    def _timer(self, armed: ArmedRule) -> asyncio.TimerHandle | None:
        if self._loop is None or armed.due == math.inf:
            return None
        return self._loop.call_at(armed.due, self.end, armed)

    async def _end(self, doors: Doors, armed: ArmedRule) -> None:
        fault = armed.rule.fault
        if armed not in self._standing or not isinstance(fault, Standing):
            return
        timer = self._standing.pop(armed)
        if timer is not None:
            timer.cancel()
        await fault.end(doors)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
