"""Faults that hold for a server as a whole (`Standing`): when they begin and end.

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
from collections.abc import Awaitable, Callable, Sequence

from fleetsim.errors import BindError
from fleetsim.faults.catalogue import Fault, Stage
from fleetsim.faults.kinds import Process, Standing, Undo
from fleetsim.faults.rules import ArmedRule

__all__ = ["Doorkeeper"]

logger = logging.getLogger("fleetsim")

Step = tuple[str, Callable[[], Awaitable[None]]]


class Doorkeeper:
    """Lets standing faults begin and end on one server. All but `open`, `settled` and `submit` may be called from any
    thread.

    `changed` is told, in the fleet's loop, which faults of the process hold, whenever that has changed.
    """

    def __init__(self, changed: Callable[[Sequence[Fault]], None]) -> None:
        self._changed = changed
        self._process: Process | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_for: dict[ArmedRule, None] = {}
        self._standing: dict[ArmedRule, tuple[asyncio.TimerHandle | None, Undo]] = {}
        self._steps: deque[Step] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether a fault is to begin as soon as the server listens."""
        return bool(self._asked_for)

    async def open(self, process: Process) -> None:
        """The server listens from now on: what was asked for before begins. Cancelling it leaves that under way."""
        self._loop, self._process = asyncio.get_running_loop(), process
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

    def submit(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, a step of the fault of that name, behind what is under way. In the fleet's loop.

        Does nothing once the server has ended.
        """
        if self._process is None:
            return
        self._steps.append((name, work))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def settled(self) -> None:
        """Return when all that was asked for has been done. Cancelling it changes nothing."""
        task = self._task
        if task is not None and not task.done() and self._loop is asyncio.get_running_loop():
            await asyncio.wait([task])

    def leave(self) -> None:
        """The server has ended: nothing begins or ends any more. In the fleet's loop."""
        self._process = None
        self._steps.clear()
        for timer, _ in self._standing.values():
            if timer is not None:
                timer.cancel()
        self._standing.clear()
        if self._task is not None:
            self._task.cancel()

    def _call(self, armed: ArmedRule, *, begin: bool) -> None:
        loop = self._loop
        if self._process is None or loop is None or loop.is_closed():
            return
        if _running_loop() is loop:
            self._do(armed, begin=begin)
        else:
            asyncio.run_coroutine_threadsafe(self._do_now(armed, begin=begin), loop).result()

    async def _do_now(self, armed: ArmedRule, *, begin: bool) -> None:
        self._do(armed, begin=begin)
        await self.settled()

    def _do(self, armed: ArmedRule, *, begin: bool) -> None:
        step = self._begin if begin else self._end
        self.submit(armed.rule.fault.name, lambda: step(armed))

    async def _work(self) -> None:
        while self._steps and self._process is not None:
            name, work = self._steps.popleft()
            try:
                await work()
            except BindError as error:
                logger.error("%s could not end: %s", name, error)  # noqa: TRY400 (no bug of ours)

    async def _begin(self, armed: ArmedRule) -> None:
        fault, process = armed.rule.fault, self._process
        if process is None or armed in self._standing or armed not in self._asked_for:
            return
        if not isinstance(fault, Standing):
            return
        if fault.stage is Stage.PROCESS:
            process.note(fault.name)
        undo = fault.begin(process)
        armed.stands()
        self._standing[armed] = self._timer(armed), undo
        self._tell()

    def _timer(self, armed: ArmedRule) -> asyncio.TimerHandle | None:
        if self._loop is None or armed.due == math.inf:
            return None
        return self._loop.call_at(armed.due, self.end, armed)

    async def _end(self, armed: ArmedRule) -> None:
        if armed not in self._standing:
            return
        timer, undo = self._standing.pop(armed)
        if timer is not None:
            timer.cancel()
        self._tell()
        await undo()

    def _tell(self) -> None:
        faults = [armed.rule.fault for armed in self._standing]
        self._changed([fault for fault in faults if fault.stage is Stage.PROCESS])


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
