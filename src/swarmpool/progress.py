"""How far a call with many requests is: one record per result, for whoever passes `progress=`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "ProgressCallback", "checked_progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the `total` requests of `step`, `done` have their result, and `failed` of those are failures."""

    step: str
    done: int
    total: int
    failed: int


ProgressCallback = Callable[[Progress], object]
"""Called in the event loop after each result, so it must be quick. What it raises ends the call, and is passed on."""


def checked_progress(progress: object) -> None:
    """Refuse what cannot be called, and a coroutine function: nobody would await it."""
    if progress is None:
        return
    if not callable(progress) or inspect.iscoroutinefunction(progress):
        raise TypeError(f"progress must be a plain function of one Progress or None, not {progress!r}")
