"""What a pool does about agents that fail, as frozen records given to `on_event` in the order of what happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from swarmpool.event_log import EventLog
from swarmpool.responses import FailureKind

__all__ = ["PoolEvent", "PoolEventKind", "PoolEvents"]

logger = logging.getLogger("swarmpool")


class PoolEventKind(StrEnum):
    """What happened to an agent, or to a request."""

    EJECTED = "ejected"  # the breaker opened: nothing is sent to the agent for a while
    PROBING = "probing"  # one try is under way that decides
    RETURNED = "returned"  # the probe went well
    RETRIED = "retried"  # a request failed with `failure` and is sent again after `seconds`
    HEDGED = "hedged"  # a request took longer than `seconds` and was sent to `agent` as well
    HEDGE_WON = "hedge_won"  # and the answer of that second try, by `agent`, came first


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """One event. `sequence` counts from 1 without gaps, `at` is the loop's time in seconds.

    `agent` is the agent's place in the root, `url` its address. There is no text of a server in it, nor of a prompt.
    """

    sequence: int
    at: float
    kind: PoolEventKind
    agent: int
    url: str
    failure: FailureKind | None = None
    seconds: float | None = None


class PoolEvents:
    """Counts the events, logs them, and gives them to the listener.

    A listener that raises changes nothing; the first time is logged.
    """

    def __init__(self, listener: Callable[[PoolEvent], object] | None) -> None:
        self._listener = listener
        self._complained = False
        self._log = EventLog()
        self.sequence = 0
        self.counts: dict[PoolEventKind, int] = dict.fromkeys(PoolEventKind, 0)

    def note(
        self,
        kind: PoolEventKind,
        agent: int,
        url: str,
        at: float,
        *,
        failure: FailureKind | None = None,
        seconds: float | None = None,
    ) -> None:
        """It has happened."""
        self.sequence += 1
        self.counts[kind] += 1
        level = self._log.level(kind, url)
        logged = logger.isEnabledFor(level)
        if not logged and self._listener is None:
            return
        event = PoolEvent(self.sequence, at, kind, agent, url, failure, seconds)
        if logged:
            self._log.write(level, event)
        if self._listener is not None:
            self._tell(self._listener, event)

    def _tell(self, listener: Callable[[PoolEvent], object], event: PoolEvent) -> None:
        try:
            listener(event)
        except Exception as error:  # noqa: BLE001 - a listener's failure is nobody else's
            if not self._complained:
                self._complained = True
                logger.warning("a listener of a pool raised %s", type(error).__name__)
