"""A time limit on what a task awaits, that can also be made due from outside.

It does what `asyncio.timeout_at` does, by the same rules (`Task.cancelling` and `Task.uncancel` tell our cancellation
from anybody else's), as a plain `with`: that is a third of the cost, paid once per request.

States: made; entered; due (the task has been cancelled by us and has not left yet); left. Only `__enter__`, `_come_due`
and `__exit__` move them. What is hard: the task may be cancelled by somebody else in the very tick in which we do. Then
its `cancelling` count is above what it was on entry even after our `uncancel`, and the CancelledError goes on.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

__all__ = ["Deadline"]


class Deadline:
    """`with Deadline(loop, when):` raises TimeoutError at the loop's time `when` (None = never), or after `expire`."""

    __slots__ = ("_cancelling", "_handle", "_loop", "_task", "_when", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float | None) -> None:
        self._loop = loop
        self._when = when
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.Handle | None = None
        self.due = False
        """Whether the limit has come while the task was inside."""

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request must be sent from inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        if self._when is not None:
            self._handle = self._loop.call_at(self._when, self._come_due)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self.due and task is not None and task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def expire(self) -> bool:
        """Make the limit due in the loop's next turn; False if nobody is inside."""
        if self._task is None:
            return False
        if not self.due:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_soon(self._come_due)
        return True

    def _come_due(self) -> None:
        assert self._task is not None
        self._handle = None
        self.due = True
        self._task.cancel()
