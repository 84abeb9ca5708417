"""Alternating measurements, and the record of what came out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

__all__ = ["Figure", "cpu_seconds", "paired_ratio", "quiet_gc"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, what it was wished to be, and what it stands on."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool
    detail: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@contextmanager
def quiet_gc() -> Iterator[None]:
    """No collection in the middle of a measurement: it would be charged to whoever is running."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def cpu_seconds(work: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of this process, user and system, while `work` runs."""
    with quiet_gc():
        start = time.process_time()
        await work()
        return time.process_time() - start


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The median of the ratios first : second, pair by pair, and their quartiles."""
    ratios = sorted(first / second for first, second in pairs)
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return middle, low, high
