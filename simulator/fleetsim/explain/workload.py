"""Who comes when, and with what: requests that are all alike and arrive by chance."""

from __future__ import annotations

import math
import random
from array import array

import msgspec

__all__ = ["Workload"]


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`requests` requests of `prompt` tokens, the first `prefix` of them common to all, for `output` tokens each.

    They arrive by chance (a Poisson process, from `seed`), `rate` of them per second on average.
    Raises ValueError for what cannot be.
    """

    rate: float
    prompt: int = 512
    output: int = 128
    prefix: int = 0
    requests: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate: expected requests per second, more than 0, got {self.rate}")
        for name in ("prompt", "output", "requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.prefix <= self.prompt:
            raise ValueError(f"prefix: expected 0 to {self.prompt}, the tokens of a prompt, got {self.prefix}")

    def arrivals(self) -> array[float]:
        """Return when each request comes, in seconds from the start, in order."""
        gap = random.Random(self.seed).expovariate
        times, now = array("d"), 0.0
        for _ in range(self.requests):
            now += gap(self.rate)
            times.append(now)
        return times

    def keys(self, block_size: int) -> tuple[int, ...]:
        """Return the keys of the full blocks that all prompts begin with."""
        return tuple(range(self.prefix // block_size))
