"""Runs a scenario so that whatever the client under test does in it is evidence: foreign code may raise anything."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

from fleetsim.proofs.claim import Stage

__all__ = ["guarded"]


async def guarded(stage: Stage, scenario: Callable[[Stage], Awaitable[None]], deadline: float) -> None:
    """Run `scenario` for at most `deadline` seconds, and end what tasks are left of it.

    What it raises, and that it does not end in time, is written into the stage's evidence. Cancelling it cancels the
    scenario.
    """
    limit = asyncio.timeout(deadline)
    try:
        async with limit:
            await scenario(stage)
    except asyncio.CancelledError as error:
        if _somebody_cancels():
            raise
        stage.evidence.check(False, f"{_raised(error)}, which nobody had sent")
    except Exception as error:  # noqa: BLE001  # foreign code: whatever it raises is its verdict
        stage.evidence.check(False, f"not finished after {deadline:g} s" if limit.expired() else _raised(error))
    finally:
        await stage.dismiss()


def _somebody_cancels() -> bool:
    """Whether this task was cancelled; clients have been seen to raise CancelledError of their own accord."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"
