"""A histogram of durations whose buckets grow by 2 %: cheap to fill, small to send, and exact to add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["GROWTH", "Histogram"]

GROWTH = 1.02
"""Each bucket is so many times as wide as the one below it, so a quantile is right within 1 %."""

_STEP = math.log(GROWTH)
_SMALLEST = 1e-6  # seconds; a loop's clock tells no less apart


class Histogram:
    """Durations in seconds. Only the quantiles are rounded: `count`, `total` and `largest` are exact."""

    __slots__ = ("_buckets", "count", "largest", "total")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; what is below a microsecond counts as one."""
        self._buckets[math.floor(math.log(max(seconds, _SMALLEST)) / _STEP)] += 1
        self.count += 1
        self.total += seconds
        self.largest = max(self.largest, seconds)

    def quantile(self, share: float) -> float | None:
        """The duration that `share` (0 to 1) of all are not above, within 1 %; None of an empty histogram."""
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, got {share!r}")
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count))
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                break
        return min(math.exp((bucket + 0.5) * _STEP), self.largest)

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None of an empty histogram."""
        return self.total / self.count if self.count else None

    def add(self, other: Histogram) -> None:
        """Count all that `other` has counted, as if it had been recorded here."""
        self._buckets.update(other._buckets)
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    def since(self, earlier: Histogram) -> Histogram:
        """What was recorded after `earlier`, which was a copy of this one then. Its `largest` is that of all time."""
        made = Histogram()
        made._buckets.update(self._buckets)
        made._buckets.subtract(earlier._buckets)
        made.count, made.total = self.count - earlier.count, self.total - earlier.total
        made.largest = self.largest
        return made

    def written(self) -> dict[str, Any]:
        """Return it as JSON and msgpack can carry it."""
        return {
            "count": self.count,
            "total": self.total,
            "largest": self.largest,
            "buckets": [[bucket, number] for bucket, number in sorted(self._buckets.items())],
        }

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Histogram:
        """Return what `written` was made of."""
        made = cls()
        made.count, made.total, made.largest = written["count"], written["total"], written["largest"]
        made._buckets.update(dict(written["buckets"]))
        return made
