"""One call of the user's code (connect, check, close) in a task of its own, bounded, whose end is told exactly once.

The task is looked at when it is done, never awaited: whatever it raises, `CancelledError` included, stays what it is
and cannot strike anybody who did not ask for it. After `timeout` seconds it is cancelled. Code that goes on all the
same is abandoned `_PATIENCE` seconds later: its end is told as a timeout, and what it brings after all goes to `late`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

__all__ = ["Errand", "Outcome"]

R = TypeVar("R")

_PATIENCE = 1.0  # seconds for cancelled code to clean up behind itself


class Outcome(Generic[R]):
    """How an errand ended: a result, or an error. `overdue`: it was out of time; `abandoned`: it has not even ended."""

    __slots__ = ("abandoned", "error", "overdue", "result")

    def __init__(
        self, *, result: R | None = None, error: BaseException | None = None, overdue: bool, abandoned: bool = False
    ) -> None:
        self.result = result
        self.error = error
        self.overdue = overdue
        self.abandoned = abandoned


class Errand(Generic[R]):
    """`ended` is called once, from the loop; `late` with a result that comes after that."""

    __slots__ = ("_ended", "_late", "_loop", "_overdue", "_timer", "_told", "task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[object, object, R],
        *,
        timeout: float | None,
        ended: Callable[[Errand[R], Outcome[R]], object],
        late: Callable[[R], object] | None = None,
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._late = late
        self._overdue = self._told = False
        self._timer = None if timeout is None else loop.call_at(loop.time() + timeout, self._out_of_time)
        self.task = loop.create_task(work)
        self.task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Cancel it, once; it is abandoned if it does not end soon."""
        if not self.task.done():
            self._disarm()
            self._timer = self._loop.call_at(self._loop.time() + _PATIENCE, self._abandon)
            self.task.cancel()

    def _out_of_time(self) -> None:
        self._overdue = True
        self.cancel()

    def _abandon(self) -> None:
        self._timer = None
        self._tell(Outcome(overdue=True, abandoned=True))

    def _done(self, task: asyncio.Task[R]) -> None:
        self._disarm()
        if task.cancelled():
            self._tell(Outcome(error=asyncio.CancelledError(), overdue=self._overdue))
        elif (error := task.exception()) is not None:
            self._tell(Outcome(error=error, overdue=self._overdue))
        elif self._told and self._late is not None:
            self._late(task.result())
        else:
            self._tell(Outcome(result=task.result(), overdue=False))

    def _tell(self, outcome: Outcome[R]) -> None:
        if not self._told:
            self._told = True
            self._ended(self, outcome)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
