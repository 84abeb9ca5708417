"""How an engine stops under its requests, and what its generations raise then."""

from __future__ import annotations

import enum
from collections.abc import Mapping

__all__ = ["AbortedError", "EngineDeadError", "EngineHaltedError", "Halt", "PausedError"]


class Halt(enum.Enum):
    """What keeps an engine from generating; of several that hold at once, the first of these decides."""

    DEAD = "dead"
    """It has crashed: requests under way fail, and so do those that come."""
    ABORTING = "aborting"
    """Its process is told to end at once: requests under way, and those that come, end with `abort`."""
    DRAINING = "draining"
    """Its process is told to end: requests under way run to their end, those that come end with `abort`."""
    ASLEEP = "asleep"
    """It has been put to sleep: requests under way end with `abort`, those that come are refused."""


class EngineHaltedError(Exception):
    """A generation ends before its time, because its engine does."""


class EngineDeadError(EngineHaltedError):
    """The engine has crashed."""


class PausedError(EngineHaltedError):
    """The engine sleeps."""


class AbortedError(EngineHaltedError):
    """The engine was told to finish at once. `said` has the tokens that had appeared by then, by job.

    Jobs that are not in it were done; a generation that was iterated over leaves the counting to whoever did that.
    """

    def __init__(self, said: Mapping[int, int] | None = None) -> None:
        super().__init__("the engine was told to finish")
        self.said = dict(said or {})
