"""How long to leave a server alone after dials to it have failed: exponential, with jitter from a seed.

One failure is one step, however many dials fail with it: those that were already under way when the last step was
taken say nothing new. Any success ends it.
"""

from __future__ import annotations

import math
from random import Random

__all__ = ["Backoff"]

_MOST_DOUBLINGS = 64  # 2.0 ** failures would overflow after a week of them


class Backoff:
    """`delay` seconds after the first failure (None = never wait), doubled by each further one up to `most`."""

    def __init__(self, *, delay: float | None, most: float, random: Random) -> None:
        self._delay = delay
        self._most = most
        self._random = random
        self.failures = 0
        self.until = -math.inf
        """When the next dial may start, on the clock of `failed`."""
        self._stepped_at = -math.inf

    @property
    def active(self) -> bool:
        """Whether the last dial failed, so that only one at a time may try again."""
        return self._delay is not None and self.failures > 0

    def failed(self, started_at: float, now: float) -> None:
        """A dial that began at `started_at` has failed."""
        if self.failures and started_at <= self._stepped_at:
            return
        self.failures += 1
        self._stepped_at = now
        if self._delay is not None:
            whole = min(self._most, self._delay * 2.0 ** min(self.failures - 1, _MOST_DOUBLINGS))
            self.until = now + whole * (0.5 + 0.5 * self._random.random())

    def succeeded(self) -> None:
        """A dial has connected: the server is back."""
        self.failures = 0
        self.until = self._stepped_at = -math.inf
