"""An engine that generates nothing: what stands in for one that is dead, asleep or told to finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from fleetsim.engine.halts import AbortedError, EngineDeadError, Halt, PausedError
from fleetsim.engine.jobs import Generation, Job

__all__ = ["HaltedEngine"]


class HaltedEngine:
    """Refuses every request, as `halt` says. Any number of servers may share one."""

    __slots__ = ("halt",)

    def __init__(self, halt: Halt) -> None:
        self.halt = halt

    def generate(self, jobs: Sequence[Job]) -> Generation:
        """See `Engine.generate`. Raises EngineDeadError or PausedError, unless the generation is to raise
        AbortedError."""
        if self.halt is Halt.DEAD:
            raise EngineDeadError
        if self.halt is Halt.ASLEEP:
            raise PausedError
        return _Aborted(len(jobs))


class _Aborted:
    """Jobs that have ended before their first token."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __aiter__(self) -> _Aborted:
        return self

    async def __anext__(self) -> NoReturn:
        raise AbortedError

    async def finish(self) -> NoReturn:
        raise AbortedError(dict.fromkeys(range(self._jobs), 0))
