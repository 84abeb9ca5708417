"""What a client that is right tells its caller of a request that a fault has struck.

It is knowledge about the fault, so each class of the catalogue declares it (`told`, and `told_of_stream` where a stream
of server-sent events makes a difference); the catalogue shows it, and `fleetsim prove` holds clients to it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = ["EITHER", "KINDS", "LATE", "NEVER", "WHOLE", "Ends", "Told", "either", "failed", "never"]

# The words for failures, which a client that tells them apart uses (the feature `kinds` of `fleetsim.proofs.client`).
KINDS: Final = {
    "connect": "there was no connection",
    "disconnected": "the connection ended before the head of an answer",
    "reset": "the same, with a reset",
    "truncated": "the body was cut",
    "protocol": "the bytes are not HTTP",
    "status": "a whole answer that is an error",
    "shape": "a whole answer that is not what was asked for",
    "stream_error": "an error inside a stream of status 200",
    "incomplete": "a stream that ended in order, without its end",
    "aborted": "the server says that it gave the answer up midway",
    "timeout": "the client's time limit passed",
}


class Ends(enum.Enum):
    """How a request may end for its caller."""

    WHOLE = "the whole answer"
    LATE = "the whole answer when its time has come, before that only a failure"
    FAILED = "a failure"
    NEVER = "a failure when the client's own limit has passed"
    EITHER = "the whole answer or a failure, both are right"


@dataclass(frozen=True, slots=True)
class Told:
    """How a request ends, and of which `KINDS` a failure is; none named where any will do."""

    ends: Ends
    kinds: frozenset[str] = frozenset()

    def __str__(self) -> str:
        named = " or ".join(kind for kind in KINDS if kind in self.kinds)
        return f"{self.ends.value} ({named})" if named else self.ends.value

    @property
    def lasts(self) -> bool:
        """Whether a client's time limit may be what ends it."""
        return self.ends in (Ends.LATE, Ends.NEVER, Ends.EITHER)


def failed(*kinds: str) -> Told:
    """A failure, of one of these kinds."""
    return Told(Ends.FAILED, frozenset(kinds))


def never(*kinds: str) -> Told:
    """A failure once the client's limit has passed, or of one of these kinds."""
    return Told(Ends.NEVER, frozenset(("timeout", *kinds)))


def either(*kinds: str) -> Told:
    """The whole answer, or a failure of one of these kinds."""
    return Told(Ends.EITHER, frozenset(kinds))


WHOLE: Final = Told(Ends.WHOLE)
LATE: Final = Told(Ends.LATE, frozenset({"timeout"}))
NEVER: Final = never()
EITHER: Final = either()
