"""Which failed request is sent again, when, and for how long. Pure.

Theory of operation
-------------------
A prompt must not be worked on twice because of us. A failure is *safe* if the agent has not begun: no connection came
about, the connection had served before and ended at once, before the first byte of an answer (the server closed it as
idle, and the request crossed its FIN; nobody can tell it from a server that dies in that second), or the agent said
that it takes no more (429, 503). Everything else may have been worked on, and is sent again only where the caller says
so (`unsafe`). Where breakers are open nothing is tried again: callers are to know at once.

`Budget` counts one request's tries over all layers: whatever sends it again asks here first. It is made when the first
try begins, so that its seconds hold whatever the waiting was for. While it pauses no slot is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from swarmpool.options import count, fraction, seconds, seconds_or_none
from swarmpool.responses import FailureKind

if TYPE_CHECKING:
    from swarmpool.responses import Response

__all__ = ["Budget", "Retry", "is_final", "is_safe"]

_UNSENT: Final = frozenset({FailureKind.CONNECT, FailureKind.CONNECT_TIMEOUT, FailureKind.DNS})
_BEFORE_THE_ANSWER: Final = frozenset({FailureKind.DISCONNECTED, FailureKind.RESET})
_REFUSING: Final = frozenset({429, 503})

# Trying again cannot help, or is not ours to decide: the caller's limits, the caller's leaving, the pool's end, a
# certificate, a body that is no answer to this call; and where every breaker is open, callers are to know at once.
_FINAL: Final = frozenset(
    {
        FailureKind.ABANDONED,
        FailureKind.CLOSED,
        FailureKind.DESCRIPTORS,
        FailureKind.MISSING,
        FailureKind.QUEUE_TIMEOUT,
        FailureKind.SHAPE,
        FailureKind.TLS,
        FailureKind.TOO_MANY_WAITING,
        FailureKind.UNAVAILABLE,
    }
)
# How long a request and a FIN may take to cross. An end that comes later is one of a server that was at work: a whole
# answer says its first byte when it is done.
_CROSSING_SECONDS: Final = 1.0
_MOST_DOUBLINGS: Final = 64  # 2.0 ** tries would overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Send a failed request again: at most `tries` times in all, the last beginning within `seconds` of the first.

    The pause before try n + 1 is `pause * 2 ** (n - 1)` seconds, at most `longest_pause`, less up to the fraction
    `jitter` of it by chance (the pool's `seed`). Where the answer has a `Retry-After`, the pause is at least that; one
    above `longest_retry_after` seconds is not waited for, and the answer stands. None turns `seconds` off.

    Only failures after which the agent has surely not begun are tried again; `unsafe` adds those where it may have: a
    new connection that broke, a body cut short, `timeout`, a status of 5xx. What no second try can mend never is.
    """

    tries: int = 3
    seconds: float | None = 60.0
    pause: float = 0.1
    longest_pause: float = 5.0
    longest_retry_after: float = 30.0
    jitter: float = 0.5
    unsafe: bool = False

    def __post_init__(self) -> None:
        count("Retry.tries", self.tries)
        seconds_or_none("Retry.seconds", self.seconds)
        for name in ("pause", "longest_pause", "longest_retry_after"):
            seconds(f"Retry.{name}", getattr(self, name), zero=True)
        fraction("Retry.jitter", self.jitter)
        if not isinstance(self.unsafe, bool):
            raise TypeError(f"Retry.unsafe must be True or False, not {self.unsafe!r}")


class Budget:
    """What one request has left of a `Retry`. `now` is always the loop's time in seconds."""

    __slots__ = ("_asked", "_chance", "_retry", "_until", "tries")

    def __init__(self, retry: Retry, chance: Random, now: float) -> None:
        self._retry = retry
        self._chance = chance
        self._until = None if retry.seconds is None else now + retry.seconds
        self._asked = now  # the latest that any Retry-After asked for
        self.tries = 0
        """Tries that have begun."""

    def allows(self, failed: Response) -> bool:
        """Whether there may be another try after `failed`, as far as its kind and the number of tries go."""
        retry = self._retry
        return self.tries < retry.tries and not is_final(failed) and (retry.unsafe or is_safe(failed))

    def pause_after(self, failed: Response, now: float, *, elsewhere: bool = False) -> float | None:
        """Seconds until the next try after `failed`; None if there is none.

        `elsewhere`: the next try goes to an agent that has not failed yet, so that there is nothing to wait for.
        """
        if not self.allows(failed):
            return None
        asked, longest = failed.retry_after or 0.0, self._retry.longest_retry_after
        if asked <= longest:
            self._asked = max(self._asked, now + asked)
        elif not elsewhere:
            return None
        pause = 0.0 if elsewhere else max(self._backoff(), self._asked - now)
        if self._until is not None and now + pause > self._until:
            return None
        return pause

    def _backoff(self) -> float:
        retry = self._retry
        whole = min(retry.longest_pause, retry.pause * 2.0 ** min(max(self.tries - 1, 0), _MOST_DOUBLINGS))
        return whole * (1.0 - retry.jitter * self._chance.random())


def is_safe(failed: Response) -> bool:
    """Whether the agent has surely not begun to work on it."""
    kind = failed.kind
    if kind in _UNSENT:
        return True
    if kind is FailureKind.STATUS:
        return failed.status in _REFUSING
    unanswered = kind in _BEFORE_THE_ANSWER and failed.connection == "reused" and failed.status is None
    return unanswered and failed.wire_seconds <= _CROSSING_SECONDS


def is_final(response: Response) -> bool:
    """Whether another try is pointless: a success, a failure that would come again, or a status that blames us."""
    kind, status = response.kind, response.status
    if kind is None or kind in _FINAL:
        return True
    return kind is FailureKind.STATUS and status is not None and status // 100 != 5 and status not in _REFUSING
