"""The middle of a few measurements, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Spread"]


class Spread(NamedTuple):
    """Lower quartile, median, upper quartile."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value; quartiles lie within what was measured. Raises ValueError for none."""
        if not values:
            raise ValueError("a spread needs at least one value, not none")
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    @property
    def width(self) -> float:
        """From quartile to quartile, as a share of the median; 0 where that is 0."""
        return (self.high - self.low) / self.middle if self.middle else 0.0

    def overlaps(self, other: Spread) -> bool:
        """Whether the two ranges of quartiles have a value in common: then their order is noise."""
        return self.low <= other.high and other.low <= self.high
