"""A pool's events for the log: a line for people, and the facts as fields for programs.

An agent that stays away is probed again and again, and each time its breaker opens anew. So that a fleet of which a
hundred agents are down does not fill the log, only its leaving and its return are told at the levels people read:
WARNING and INFO. All else is DEBUG, and costs one question to the logger where that is off.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swarmpool.events import PoolEvent

__all__ = ["EventLog"]

logger = logging.getLogger("swarmpool")

_SENTENCES: Final = {
    "ejected": "agent %s is ejected: it has failed too often",
    "probing": "agent %s is probed",
    "returned": "agent %s has returned",
    "retried": "a request to agent %s failed and is sent again",
    "hedged": "a request goes to agent %s as well",
    "hedge_won": "agent %s answered first, as the second that was asked",
}


class EventLog:
    """Writes events to the logger `swarmpool`. The fields of a record are those of the event, after `swarmpool_`.

    There is no text of a server in it, nor of a prompt, nor anything that was sent.
    """

    def __init__(self) -> None:
        self._away: set[str] = set()

    def level(self, kind: str, url: str) -> int:
        """How loud an event is; it is remembered who is away."""
        if kind == "ejected" and url not in self._away:
            self._away.add(url)
            return logging.WARNING
        if kind == "returned":
            self._away.discard(url)
            return logging.INFO
        return logging.DEBUG

    def write(self, level: int, event: PoolEvent) -> None:
        """Write it."""
        fields = {
            "swarmpool_event": event.kind.value,
            "swarmpool_agent": event.agent,
            "swarmpool_url": event.url,
            "swarmpool_failure": None if event.failure is None else event.failure.value,
            "swarmpool_seconds": event.seconds,
        }
        logger.log(level, _SENTENCES[event.kind], event.url, extra=fields)
