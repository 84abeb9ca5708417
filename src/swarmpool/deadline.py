"""A time limit on what a task awaits, that can also be made due from outside.

It does what `asyncio.timeout_at` does, by the same rules (`Task.cancelling` and `Task.uncancel` tell our cancellation
from anybody else's), as a plain `with`: that is a third of the cost, paid once per request.

States: made; entered; due (the task has been cancelled by us and has not left yet); left. Only `__enter__`, `_come_due`
and `__exit__` move them. What is hard: the task may be cancelled by somebody else in the very tick in which we do. Then
its `cancelling` count is above what it was on entry even after our `uncancel`, and the CancelledError goes on.

A timer for each request costs more than the rest of this. `Deadlines` watches limits that are all equally long with one
timer: they come due in the order in which they were entered, so the oldest one's is the next.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from types import TracebackType

__all__ = ["Deadline", "Deadlines"]

_GRACE = 0.0005  # seconds; a timer may fire within its clock's resolution before it is due


class Deadline:
    """`with Deadline(loop, when):` raises TimeoutError at the loop's time `when` (None = never), or after `expire`.

    With `among`, no entry may have a `when` before that of an entry still inside.
    """

    __slots__ = ("_among", "_cancelling", "_handle", "_loop", "_task", "_when", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float | None, among: Deadlines | None = None) -> None:
        self._loop = loop
        self._when = when
        self._among = among
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.Handle | None = None
        self.due = False
        """Whether the limit has come while the task was inside."""

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request must be sent from inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        if self._when is None:
            return
        if self._among is not None:
            self._among.add(self, self._when)
        else:
            self._handle = self._loop.call_at(self._when, self.come_due)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._unwatch()
        if self.due and task is not None and task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def expire(self) -> bool:
        """Make the limit due in the loop's next turn; False if nobody is inside."""
        if self._task is None:
            return False
        if not self.due:
            self._unwatch()
            self._handle = self._loop.call_soon(self.come_due)
        return True

    def come_due(self) -> None:
        """The limit has come: wake the task, which is inside."""
        assert self._task is not None
        self._handle = None
        self.due = True
        self._task.cancel()

    def _unwatch(self) -> None:
        if self._among is not None:
            self._among.remove(self)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Deadlines:
    """Limits of one length, one timer for all. The timer runs only while somebody is inside one of them."""

    __slots__ = ("_inside", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inside: OrderedDict[Deadline, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, deadline: Deadline, when: float) -> None:
        """Watch `deadline`, which is due at `when`, not before any that is watched already."""
        self._inside[deadline] = when
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._oldest_is_due)

    def remove(self, deadline: Deadline) -> None:
        """Watch it no more; one that is not watched is none of ours."""
        self._inside.pop(deadline, None)
        if not self._inside and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _oldest_is_due(self) -> None:
        self._timer = None
        now = self._loop.time() + _GRACE
        while self._inside:
            deadline, when = next(iter(self._inside.items()))
            if when > now:
                self._timer = self._loop.call_at(when, self._oldest_is_due)
                return
            del self._inside[deadline]
            deadline.come_due()
