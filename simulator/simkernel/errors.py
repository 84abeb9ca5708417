"""What a simulated run can end with, beside the errors of the program in it.

SimError
├── SimEscape       the program tried to leave the simulation
├── SimDeadlock     everybody waits and nothing will ever come
├── SimLivelock     the loop turns and time does not pass, or the run takes longer than it may
├── SimDivergence   two runs of one seed were not the same
└── SimUnhandled    something went wrong in the program and nobody was told; raised by the pytest plugin
"""

from __future__ import annotations

__all__ = ["SimDeadlock", "SimDivergence", "SimError", "SimEscape", "SimLivelock", "SimUnhandled"]


class SimError(RuntimeError):
    """Root of what simkernel raises by itself."""


class SimEscape(SimError):
    """A call that would have left the simulation: a thread, a real descriptor, a process. It names the call."""


class SimDeadlock(SimError):
    """Every task waits, no timer is armed and no packet is under way. Names the tasks and where each waits."""


class SimLivelock(SimError):
    """The loop turns without an end: no time passes, or more of it than the run may take. Names the waiting tasks."""


class SimDivergence(SimError):
    """Two runs of the same seed differ. Names the first event that does."""


class SimUnhandled(SimError):
    """asyncio or Python was told of an error that nobody handled: a lost task exception, a warning in a finalizer."""
