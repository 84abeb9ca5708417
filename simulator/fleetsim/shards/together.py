"""Several things at once, and one error where several may fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["one_error", "together"]

T = TypeVar("T")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all `works` at once and return their results in order.

    Raises the first error as it is, when the others have been cancelled and have ended; cancelling it cancels them all.
    """
    with one_error():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Let the first error of a group leave as it is."""
    try:
        yield
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
