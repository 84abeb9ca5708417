"""What came of a load, counted while it was played and summed up in the end."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

import msgspec

__all__ = ["BUCKETS", "Figures", "Recorder", "Spread", "spread", "weighted_spread"]

BUCKETS = 60
_PER_SECOND = 100_000


class Spread(msgspec.Struct, frozen=True):
    """How a time is spread, in seconds; percentiles by nearest rank."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load. Times are seconds.

    Of `requests` requests `refused` were not queued. `seconds` went by until the last was answered; the rates are
    averages over them, and `busy` is their part in which the engine worked. `queue` is from arrival to the first step,
    `ttft` and `e2e` from arrival to the first and last token, `itl` between two tokens of a request. `mean_running` is
    over the steps' time, `peak_waiting` and `peak_kv_usage` over all. `cached_tokens` of prompts were in the prefix
    cache. `waiting` and `running` have the most of each, for each sixtieth of the time of arrivals; `growing` says that
    the queue kept growing, so that these figures are the worse the longer one looks.
    """

    requests: int
    refused: int
    seconds: float
    requests_per_second: float
    prompt_tokens_per_second: float
    output_tokens_per_second: float
    busy: float
    steps: int
    preemptions: int
    cached_tokens: int
    mean_running: float
    peak_waiting: int
    peak_kv_usage: float
    growing: bool
    ttft: Spread
    queue: Spread
    itl: Spread
    e2e: Spread
    waiting: tuple[int, ...]
    running: tuple[int, ...]


class Recorder:
    """Counts what happens, with as little work for each step as can be. Gaps are kept to ten microseconds."""

    __slots__ = (
        "_width",
        "busy",
        "cached_tokens",
        "e2e",
        "gaps",
        "output_tokens",
        "peak_kv_usage",
        "preemptions",
        "queue",
        "refused",
        "running",
        "running_seconds",
        "steps",
        "ttft",
        "waiting",
    )

    def __init__(self, until: float) -> None:
        self._width = until / BUCKETS
        self.ttft, self.queue, self.e2e = array("d"), array("d"), array("d")
        self.gaps: Counter[int] = Counter()
        self.waiting, self.running = [0] * BUCKETS, [0] * BUCKETS
        self.busy = self.running_seconds = self.peak_kv_usage = 0.0
        self.steps = self.preemptions = self.cached_tokens = self.output_tokens = self.refused = 0

    def gap(self, seconds: float, times: int = 1) -> None:
        """`times` tokens came so long after the one before."""
        if times:
            self.gaps[round(seconds * _PER_SECOND)] += times

    def worked(self, start: float, seconds: float, steps: int, running: int, waiting: int, kv_usage: float) -> None:
        """So many steps from `start` on took `seconds`, with so many running and waiting."""
        self.steps += steps
        self.busy += seconds
        self.running_seconds += running * seconds
        self.peak_kv_usage = max(self.peak_kv_usage, kv_usage)
        bucket = int(start / self._width)
        if bucket < BUCKETS:
            self.waiting[bucket] = max(self.waiting[bucket], waiting)
            self.running[bucket] = max(self.running[bucket], running)

    def figures(self, *, requests: int, prompt_tokens: int, seconds: float) -> Figures:
        """Sum up. All requests that were queued have been answered."""
        answered = len(self.e2e)
        return Figures(
            requests=requests,
            refused=self.refused,
            seconds=seconds,
            requests_per_second=_per(answered, seconds),
            prompt_tokens_per_second=_per(answered * prompt_tokens, seconds),
            output_tokens_per_second=_per(self.output_tokens, seconds),
            busy=_per(self.busy, seconds),
            steps=self.steps,
            preemptions=self.preemptions,
            cached_tokens=self.cached_tokens,
            mean_running=_per(self.running_seconds, self.busy),
            peak_waiting=max(self.waiting),
            peak_kv_usage=self.peak_kv_usage,
            growing=_grows(self.queue),
            ttft=spread(self.ttft),
            queue=spread(self.queue),
            itl=weighted_spread((gap / _PER_SECOND, times) for gap, times in self.gaps.items()),
            e2e=spread(self.e2e),
            waiting=tuple(self.waiting),
            running=tuple(self.running),
        )


def spread(values: Iterable[float]) -> Spread:
    """Return how `values` are spread; all 0 when there are none."""
    return weighted_spread((value, 1) for value in values)


def weighted_spread(values: Iterable[tuple[float, int]]) -> Spread:
    """Return how values are spread each of which comes up so often."""
    ordered = sorted(values)
    if not ordered:
        return Spread()
    ranks = list(accumulate(times for _, times in ordered))
    total = ranks[-1]
    p50, p90, p99 = (ordered[bisect_left(ranks, total * percent / 100)][0] for percent in (50, 90, 99))
    mean = sum(value * times for value, times in ordered) / total
    return Spread(mean=mean, p50=p50, p90=p90, p99=p99, max=ordered[-1][0])


def _per(amount: float, seconds: float) -> float:
    return amount / seconds if seconds else 0.0


def _grows(queue: array[float]) -> bool:
    """Whether those who came last waited far longer than those before: quarter by quarter, and never a little."""
    quarter = len(queue) // 4
    if not quarter:
        return False
    first, second, third, last = (sum(queue[part * quarter : (part + 1) * quarter]) / quarter for part in range(4))
    return first < second < third < last and last > 1.5 * second and last > 1.0
