"""Waits until all ranks have registered, and makes one hostfile of theirs.

The folder is looked at again and again, for file systems that nodes share tell nobody of a change made elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetsim.cluster.registry import Registration
from fleetsim.errors import FleetError
from fleetsim.units import format_duration

__all__ = ["Gathering", "MissingRanksError", "in_spans"]

_PAUSE = 0.25
_MOST_SPANS = 12


class MissingRanksError(FleetError):
    """Not all ranks have registered in time. `missing` names those that have not."""

    def __init__(self, missing: Iterable[int], expected: int, wait: float) -> None:
        self.missing = tuple(missing)
        there = f"{expected - len(self.missing)} of {expected} ranks are there" if expected else "no rank is there"
        super().__init__(f"after {format_duration(wait)} {there}{_but(self.missing)}")


@dataclass(frozen=True, slots=True)
class Gathering:
    """`look` returns what is registered; `clock` and `sleep` are in seconds; `tell` is given a line of progress.

    `expect` is how many ranks there have to be, None for as many as they say themselves. Files of other jobs than `job`
    count for nothing where both are known.
    """

    look: Callable[[], Mapping[int, Registration]]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    tell: Callable[[str], None]
    expect: int | None = None
    job: str | None = None

    def run(self, wait: float) -> list[Registration]:
        """Return what all ranks say, in their order, as soon as all do.

        Raises MissingRanksError after `wait` seconds, FleetError where two ranks name the same address.
        """
        deadline = self.clock() + wait
        told = -1
        while True:
            there = {rank: each for rank, each in self.look().items() if self._is_meant(each)}
            expected = self._expected(there.values())
            missing = [rank for rank in range(expected) if rank not in there]
            if expected and not missing:
                return _checked(list(there.values()))
            if len(there) != told:
                told = len(there)
                self.tell(f"{told} of {expected or '?'} ranks are there{_but(missing)}")
            left = deadline - self.clock()
            if left <= 0:
                raise MissingRanksError(missing, expected, wait)
            self.sleep(min(_PAUSE, left))

    def _is_meant(self, registration: Registration) -> bool:
        if self.expect is not None and registration.rank >= self.expect:
            return False
        return self.job is None or registration.job is None or registration.job == self.job

    def _expected(self, there: Collection[Registration]) -> int:
        if self.expect is not None:
            return self.expect
        if any(each.ranks is None for each in there):
            raise FleetError("--expect: expected a number, for the ranks do not say how many they are")
        return max((each.ranks or 0 for each in there), default=0)


def _checked(registrations: list[Registration]) -> list[Registration]:
    counts = Counter(address for each in registrations for address in each.addresses)
    address, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > 1:
        ranks = [each.rank for each in registrations if address in each.addresses]
        raise FleetError(
            f"ranks {in_spans(ranks)} both say that they are at {address}: expected a name that tells their nodes "
            f"apart, by `fleetsim serve --advertise`"
        )
    return registrations


def _but(missing: Sequence[int]) -> str:
    return f"; missing {in_spans(missing)}" if missing else ""


def in_spans(numbers: Iterable[int]) -> str:
    """Return `3, 17, 20 to 25` for the numbers, given in order; at most twelve such spans."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    said = [str(first) if first == last else f"{first} to {last}" for first, last in spans[:_MOST_SPANS]]
    more = sum(last - first + 1 for first, last in spans[_MOST_SPANS:])
    return ", ".join([*said, f"and {more} more"] if more else said)
