"""How many requests an agent gets at once, found out while it works: additive increase, multiplicative decrease. Pure.

Theory of operation
-------------------
Each agent has a limit of its own, `initial` at first. Answers raise it by 1 for every `limit` of them, as long as the
limit is what holds requests back: an agent that is asked little would else be let run up without anybody knowing what
it bears. Overload (429, 503, `timeout`, an answer slower than `slow` seconds) multiplies it by `decrease`.

One overload is seen by all requests under way. Those that began before the last decrease say nothing new, and are not
heard: or one moment of overload would bring the limit down to `minimum`.

This is TCP's congestion avoidance (Chiu and Jain, 1989; RFC 5681, 3.1) with requests for segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from swarmpool.options import count, seconds_or_none
from swarmpool.responses import FailureKind

if TYPE_CHECKING:
    from swarmpool.responses import Response

__all__ = ["Adaptive", "Pacing"]

_REFUSING = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """Let each agent have as many requests in flight as it bears: from `minimum` to `maximum`, beginning at `initial`.

    `decrease` is what its limit is multiplied by when it is overloaded; `slow` None: only refusals and timeouts are.
    """

    initial: int = 8
    minimum: int = 1
    maximum: int = 256
    decrease: float = 0.7
    slow: float | None = None

    def __post_init__(self) -> None:
        for name in ("initial", "minimum", "maximum"):
            count(f"Adaptive.{name}", getattr(self, name))
        if not self.minimum <= self.initial <= self.maximum:
            raise ValueError(
                f"Adaptive.initial must be from minimum={self.minimum} to maximum={self.maximum}, not {self.initial}"
            )
        if isinstance(self.decrease, bool) or not isinstance(self.decrease, int | float):
            raise TypeError(f"Adaptive.decrease must be a number between 0 and 1, not {self.decrease!r}")
        if not 0 < self.decrease < 1:
            raise ValueError(f"Adaptive.decrease must be between 0 and 1, not {self.decrease}")
        seconds_or_none("Adaptive.slow", self.slow)


class _Pace:
    __slots__ = ("decreased_at", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.decreased_at = -math.inf


class Caps(Protocol):
    """What keeps the limits: the tree's limiter."""

    def in_use_by(self, agent: str) -> int:
        """Requests it has in flight."""

    def resize(self, agent: str, cap: int) -> None:
        """It may have so many from now on."""


class Pacing:
    """The limits of a tree's agents, which `caps` keeps: it is told each whole number that is new."""

    def __init__(self, adaptive: Adaptive, caps: Caps) -> None:
        self._adaptive = adaptive
        self._caps = caps
        self._paces: dict[str, _Pace] = {}

    def limit(self, agent: str) -> int:
        """Requests that agent may have in flight now."""
        pace = self._paces.get(agent)
        return self._adaptive.initial if pace is None else int(pace.limit)

    def heard(self, agent: str, response: Response, now: float) -> None:
        """A request to `agent` has just ended with `response`; its slot is free, or somebody else's already."""
        overloaded = self._overloaded(response)
        if overloaded is None:
            return
        pace = self._paces.get(agent)
        if pace is None:
            pace = self._paces[agent] = _Pace(self._adaptive.initial)
        before = int(pace.limit)
        if overloaded:
            self._decrease(pace, now - response.wire_seconds, now)
        elif self._caps.in_use_by(agent) + 1 >= before:
            pace.limit = min(self._adaptive.maximum, pace.limit + 1 / pace.limit)
        if int(pace.limit) != before:
            self._caps.resize(agent, int(pace.limit))

    def _decrease(self, pace: _Pace, began: float, now: float) -> None:
        if began < pace.decreased_at:
            return
        pace.decreased_at = now
        pace.limit = max(float(self._adaptive.minimum), pace.limit * self._adaptive.decrease)

    def _overloaded(self, response: Response) -> bool | None:
        """None where the result says nothing about how much the agent bears."""
        if response.success:
            return self._adaptive.slow is not None and response.wire_seconds > self._adaptive.slow
        if response.kind is FailureKind.TIMEOUT or (
            response.kind is FailureKind.STATUS and response.status in _REFUSING
        ):
            return True
        return None
