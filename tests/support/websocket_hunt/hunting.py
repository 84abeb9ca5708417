"""One plan, one seed, one verdict."""

from __future__ import annotations

from functools import partial

import simkernel
from websocket_hunt.play import play
from websocket_hunt.steps import Plan
from websocket_hunt.witness import ViolationError

__all__ = ["attempt"]

_GRIDS = (0.0, 0.005, 0.02)  # seconds: every third world has none, on the others' things coincide


def attempt(plan: Plan, seed: int) -> BaseException | None:
    """Play a plan in the world of that seed, and return what it ends with; None if all is well."""
    result = simkernel.attempt(partial(play, plan=plan), seed, quantum=_GRIDS[seed % len(_GRIDS)], segments=False)
    if result.error is None and result.unhandled:
        return ViolationError(f"nobody has handled {result.unhandled[0]}")
    return result.error
