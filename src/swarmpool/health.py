"""A breaker for each agent: who has failed too often is left alone for a while, and tried with one request. Pure.

Theory of operation
-------------------
A `Breaker` is CLOSED while its agent is fit: outcomes go into a window, and when in the last `window` seconds at least
`failures` tries have failed, and they are at least `share` of all, it goes OPEN. Nothing is sent to the agent then.
After `open_seconds` the next try is let through as the *probe*: HALF_OPEN, everybody else still refused. The probe
decides: a success closes the breaker, a failure opens it for twice as long, up to `longest_open_seconds`.

What is hard is the probe that never tells: its owner is cancelled, or gets no slot. `abandoned` then opens the breaker
with its time already over, so that the next try is the probe; a breaker cannot stay HALF_OPEN with nobody probing.

Tries that had begun before the breaker opened may end at any time later. Only a probe is heard while it is not CLOSED,
so they can neither close it nor prolong it. No timer is needed anywhere: who asks brings the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from swarmpool.options import count, fraction, seconds
from swarmpool.responses import FailureKind

if TYPE_CHECKING:
    from swarmpool.responses import Response

__all__ = ["Breaker", "BreakerState", "Health", "verdict"]

_MOST_OUTCOMES: Final = 256  # remembered by each breaker; older ones do not count, whatever the window

# These say nothing about the agent: the caller or this process had the trouble, or nothing was sent.
_SILENT: Final = frozenset(
    {
        FailureKind.ABANDONED,
        FailureKind.CLOSED,
        FailureKind.DESCRIPTORS,
        FailureKind.QUEUE_TIMEOUT,
        FailureKind.TOO_MANY_WAITING,
        FailureKind.UNAVAILABLE,
    }
)
# The agent has answered, though not what was hoped for.
_ANSWERED: Final = frozenset({FailureKind.MISSING, FailureKind.SHAPE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """When an agent is ejected, and how it comes back. Seconds, on the loop's clock.

    It is ejected when at least `failures` tries of the last `window` seconds have failed and they are at least `share`
    of all. It is probed after `open_seconds`, each time twice as long up to `longest_open_seconds`: with the next
    request (`probe="request"`), or with a `GET /health` of the pool's own (`probe="health"`), so that no prompt has to
    find out.
    """

    failures: int = 5
    share: float = 0.5
    window: float = 30.0
    open_seconds: float = 5.0
    longest_open_seconds: float = 60.0
    probe: Literal["request", "health"] = "request"

    def __post_init__(self) -> None:
        count("Health.failures", self.failures)
        if self.failures > _MOST_OUTCOMES:
            raise ValueError(f"Health.failures must be at most {_MOST_OUTCOMES}, not {self.failures}")
        fraction("Health.share", self.share)
        for name in ("window", "open_seconds", "longest_open_seconds"):
            seconds(f"Health.{name}", getattr(self, name))
        if self.longest_open_seconds < self.open_seconds:
            raise ValueError(
                f"Health.longest_open_seconds must be at least open_seconds={self.open_seconds}, "
                f"not {self.longest_open_seconds}"
            )
        if self.probe not in ("request", "health"):
            raise ValueError(f"Health.probe must be 'request' or 'health', not {self.probe!r}")


class BreakerState(Enum):
    """What a breaker lets through: all, nothing, or one probe that is under way."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


_MOVES: Final = {
    BreakerState.CLOSED: {BreakerState.OPEN},
    BreakerState.OPEN: {BreakerState.HALF_OPEN},
    BreakerState.HALF_OPEN: {BreakerState.OPEN, BreakerState.CLOSED},
}

OnMove = Callable[[BreakerState, float], object]


class Breaker:
    """The breaker of one agent. `now` is always the loop's time; `on_move(after, now)` is told each move."""

    __slots__ = ("_health", "_last", "_on_move", "_open_for", "_outcomes", "_until", "state")

    def __init__(self, health: Health, on_move: OnMove | None = None) -> None:
        self._health = health
        self._on_move = on_move
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=_MOST_OUTCOMES)
        self._until = 0.0
        self._open_for = health.open_seconds
        self._last = ""
        self.state = BreakerState.CLOSED

    def allows(self, now: float) -> bool:
        """Whether a try may begin: it would be an ordinary one, or the probe."""
        return self.state is BreakerState.CLOSED or (self.state is BreakerState.OPEN and now >= self._until)

    def begin(self, now: float) -> bool:
        """A try begins; returns whether it is the probe. Raises RuntimeError if none is allowed."""
        if not self.allows(now):
            raise RuntimeError(f"a try was begun while its breaker is {self.state.name}")
        if self.state is BreakerState.CLOSED:
            return False
        self._move(BreakerState.HALF_OPEN, now)
        return True

    def succeeded(self, now: float, *, probe: bool) -> None:
        """A try has ended well."""
        if self._deaf(probe=probe):
            return
        if probe:
            self._outcomes.clear()
            self._open_for = self._health.open_seconds
            self._move(BreakerState.CLOSED, now)
        self._outcomes.append((now, True))

    def failed(self, now: float, reason: str, *, probe: bool) -> None:
        """A try has failed, and that is the agent's fault."""
        if self._deaf(probe=probe):
            return
        self._last = reason
        if probe:
            self._open_for = min(2 * self._open_for, self._health.longest_open_seconds)
            self._open(now, self._open_for)
            return
        self._outcomes.append((now, False))
        bad = self._bad(now)
        if bad >= self._health.failures and bad >= self._health.share * len(self._outcomes):
            self._open(now, self._open_for)

    def abandoned(self, now: float, *, probe: bool) -> None:
        """A try has ended and says nothing about the agent. After a probe the next try is one."""
        if not self._deaf(probe=probe) and probe:
            self._open(now, 0.0)

    def why(self, now: float) -> str:
        """Why nothing is sent, for an error message."""
        if self.state is BreakerState.HALF_OPEN:
            return f"a probe is under way; last failure: {self._last}"
        return f"left alone for {max(0.0, self._until - now):.1f} s more; last failure: {self._last}"

    def _deaf(self, *, probe: bool) -> bool:
        return self.state is not (BreakerState.HALF_OPEN if probe else BreakerState.CLOSED)

    def _bad(self, now: float) -> int:
        while self._outcomes and self._outcomes[0][0] < now - self._health.window:
            self._outcomes.popleft()
        return sum(not good for _, good in self._outcomes)

    def _open(self, now: float, lasting: float) -> None:
        self._until = now + lasting
        self._move(BreakerState.OPEN, now)

    def _move(self, after: BreakerState, now: float) -> None:
        if after not in _MOVES[self.state]:
            raise RuntimeError(f"a breaker that is {self.state.name} cannot become {after.name}")
        self.state = after
        if self._on_move is not None:
            self._on_move(after, now)


def verdict(response: Response) -> bool | None:
    """What a result says about its agent: fit, unfit, or nothing."""
    kind, status = response.kind, response.status
    if kind in _SILENT:
        return None
    if kind is None or kind in _ANSWERED:
        return True
    return kind is FailureKind.STATUS and status is not None and status // 100 != 5
