"""`time`, `os.urandom` and an unseeded `random.Random`, from the run's clock and the run's seed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from simkernel import world

__all__ = ["CLOCKS", "seed_generator", "sleep", "urandom"]

_EPOCH = 1_700_000_000.0
"""What `time.time()` says at virtual second 0: 14 November 2023."""

_real_urandom, _real_sleep, _real_seed = os.urandom, time.sleep, random.Random.seed


def _clock(name: str) -> Callable[[], float]:
    real: Callable[[], float] = getattr(time, name)
    offset = _EPOCH if name.startswith("time") else 0.0
    in_nanoseconds = name.endswith("_ns")

    def clock() -> float:
        here = world.current()
        if here is None:
            return real()
        now = here.net.now + offset
        return round(now * 1e9) if in_nanoseconds else now

    clock.__name__ = clock.__qualname__ = name
    return clock


CLOCKS = {
    name: _clock(name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}
"""What stands for `time.<name>` during a run."""


def sleep(seconds: float, /) -> None:
    """`time.sleep`: the whole simulated process stands still, and then all its timers are late."""
    here = world.current()
    if here is None:
        _real_sleep(seconds)
    else:
        here.net.now += seconds


def urandom(size: int, /) -> bytes:
    """`os.urandom`."""
    here = world.current()
    return _real_urandom(size) if here is None else here.entropy.randbytes(size)


def seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
    """`random.Random.seed`: without a seed of its own, a generator gets one from the run's."""
    here = world.current()
    if a is None and here is not None and type(self) is random.Random:
        a = here.entropy.getrandbits(64)
    _real_seed(self, a, version)
