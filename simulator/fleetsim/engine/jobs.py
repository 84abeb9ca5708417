"""The seam between a request and the engine: jobs go in, instants at which tokens appear come out.

An engine knows times and token counts, never words, JSON or sockets. Whatever stands behind this seam (fixed delays,
or a model of a GPU's steps), a stream is `async for batch in generation`, and a unary answer is
`await generation.finish()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

__all__ = ["Engine", "Generation", "Job"]


class Job(msgspec.Struct, frozen=True):
    """One sequence to generate: lengths in tokens. `output_tokens` is at least 1."""

    prompt_tokens: int
    output_tokens: int


class Generation(Protocol):
    """The jobs of one request, under way. For one task at a time.

    Both ways to wait for it raise an EngineHaltedError when the engine is stopped under it.
    """

    def __aiter__(self) -> Generation: ...

    async def __anext__(self) -> Sequence[int]:
        """Wait for the next instant at which tokens appear and return whose they are.

        Each item is a job's index and stands for one token of that job; over the whole iteration index `i` comes up
        `jobs[i].output_tokens` times. Raises StopAsyncIteration when all are done. Cancelling leaves no timer behind;
        iteration may go on.
        """

    async def finish(self) -> None:
        """Return once every remaining token has appeared. Cancelling leaves no timer behind."""


class Engine(Protocol):
    """Generates for any number of requests at once."""

    def generate(self, jobs: Sequence[Job]) -> Generation:
        """Start `jobs` together, now. Raises RuntimeError outside a running event loop."""
