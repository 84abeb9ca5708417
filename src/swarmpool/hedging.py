"""A second try on another agent when the first takes longer than nearly all do: when, and how often. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from swarmpool.options import count, fraction, seconds_or_none

__all__ = ["Hedge", "Hedging"]

_REMEMBERED: Final = 256  # latencies
_RENEWED_EVERY: Final = 16  # successes: sorting the latencies for each request would cost more than it tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Send a request that takes long to a second agent as well: the first good answer counts, the other is cancelled.

    It takes long when it is not answered `after` seconds from its beginning; None: when it is slower than the
    `quantile` of the last answers, of which there must be `at_least`. At most the fraction `share` of the pool's
    requests gets a second try, and none while no slot is free: hedging must not be what overloads a fleet.

    Two agents may work on one prompt, of course. Only requests that leave the agent to the pool are hedged.
    """

    after: float | None = None
    quantile: float = 0.95
    at_least: int = 20
    share: float = 0.1

    def __post_init__(self) -> None:
        seconds_or_none("Hedge.after", self.after)
        fraction("Hedge.quantile", self.quantile)
        fraction("Hedge.share", self.share)
        count("Hedge.at_least", self.at_least)
        if self.at_least > _REMEMBERED:
            raise ValueError(f"Hedge.at_least must be at most {_REMEMBERED}, not {self.at_least}")


class Hedging:
    """What a tree knows of its latencies, and how many of its requests have had a second try."""

    def __init__(self, hedge: Hedge) -> None:
        self._hedge = hedge
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._answers = 0
        self._requests = 0
        self._hedged = 0
        self._delay: float | None = hedge.after

    def begun(self) -> float | None:
        """A request begins: the seconds after which it takes long; None if that is not known yet."""
        self._requests += 1
        return self._delay

    def answered(self, seconds: float) -> None:
        """A good answer took that long on the wire."""
        self._latencies.append(seconds)
        self._answers += 1
        due = len(self._latencies) == self._hedge.at_least or self._answers % _RENEWED_EVERY == 0
        if self._hedge.after is None and due and len(self._latencies) >= self._hedge.at_least:
            ordered = sorted(self._latencies)
            self._delay = ordered[min(len(ordered) - 1, int(self._hedge.quantile * len(ordered)))]

    @property
    def spare(self) -> bool:
        """Whether one more request may have a second try."""
        return self._hedged + 1 <= self._hedge.share * self._requests

    def take(self) -> bool:
        """The same; it is counted."""
        if not self.spare:
            return False
        self._hedged += 1
        return True
