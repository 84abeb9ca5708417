"""What happened in a run, event by event, and the digest two runs are compared by.

An event is a tuple: virtual seconds, what happened, and its particulars, which are numbers and words only. Bytes appear
as their length and CRC-32, those of a TLS connection not at all: OpenSSL's entropy is not the seed's.
"""

from __future__ import annotations

import hashlib
from itertools import zip_longest
from typing import Any

from simkernel.errors import SimDivergence

__all__ = ["Event", "Trace", "compare"]

Event = tuple[Any, ...]

_CONTEXT = 3  # events told before the first difference
_AT_ONCE = 1_000


class Trace:
    """The events of one run. Without `segments` only what happens to connections is kept, not each packet."""

    __slots__ = ("events", "segments")

    def __init__(self, *, segments: bool = True) -> None:
        self.events: list[Event] = []
        self.segments = segments

    def digest(self) -> str:
        """24 hexadecimal digits: equal for equal events."""
        return digest(self.events)


def digest(events: list[Event]) -> str:
    """24 hexadecimal digits that are equal for equal events."""
    told = hashlib.blake2b(digest_size=12)
    for first in range(0, len(events), _AT_ONCE):
        told.update("".join(f"{event!r}\n" for event in events[first : first + _AT_ONCE]).encode())
    return told.hexdigest()


def compare(first: list[Event], second: list[Event]) -> None:
    """Return when both are the same. Raises SimDivergence with the first event that is not."""
    for number, (one, other) in enumerate(zip_longest(first, second)):
        if one != other:
            raise SimDivergence(_difference(first, number, one, other))


def _difference(events: list[Event], number: int, one: Event | None, other: Event | None) -> str:
    before = "".join(f"\n    {event!r}" for event in events[max(0, number - _CONTEXT) : number])
    told = " and then ".join("the end" if event is None else repr(event) for event in (one, other))
    return f"event {number} differs between two runs of one seed: {told}; before it, in both:{before}"
