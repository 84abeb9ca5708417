"""Who waits, and where: what a deadlock is reported with."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["describe_tasks"]

_MOST = 20


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return one line per task that is not done, in order of creation: its name and where it waits."""
    tasks = sorted((task for task in asyncio.all_tasks(loop) if not task.done()), key=_number)
    lines = [f"\n    {task.get_name()} waits in {_where(task.get_coro())}" for task in tasks[:_MOST]]
    more = f"\n    and {len(tasks) - _MOST} more" if len(tasks) > _MOST else ""
    counted = "1 task waits" if len(tasks) == 1 else f"{len(tasks)} tasks wait"
    return f"{counted}{''.join(lines)}{more}"


def _number(task: asyncio.Task[Any]) -> int:
    return getattr(task, "number", 0)


def _where(work: Any) -> str:
    """The innermost place in source code that the chain of awaits leads to; where that is asyncio's, also who asked."""
    place, asker = "an unknown place", ""
    while work is not None:
        frame = _first(work, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            place = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
            asker = asker if frame.f_globals.get("__package__") == "asyncio" else place
        work = _first(work, "cr_await", "gi_yieldfrom", "ag_await")
    return place if asker in (place, "") else f"{place}, called by {asker}"


def _first(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
