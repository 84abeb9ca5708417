"""`time`, `os.urandom` and an unseeded `random.Random`, from the run's clock and the run's seed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from simkernel import world

__all__ = ["CLOCKS", "getrandom", "seed_generator", "sleep", "urandom"]

_EPOCH = 1_700_000_000.0
"""What `time.time()` says at virtual second 0: 14 November 2023."""

_real_urandom, _real_sleep, _real_seed = os.urandom, time.sleep, random.Random.seed
_real_getrandom: Callable[..., bytes] | None = getattr(os, "getrandom", None)


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


_OFFSETS = {
    getattr(time, name): offset
    for name, offset in (
        ("CLOCK_REALTIME", _EPOCH),
        ("CLOCK_MONOTONIC", 0.0),
        ("CLOCK_MONOTONIC_RAW", 0.0),
        ("CLOCK_BOOTTIME", 0.0),
    )
    if hasattr(time, name)
}
"""The clocks of `clock_gettime` that a run has; those of CPU time stay as they are."""


def _clock_by_number(name: str) -> Callable[[int], float]:
    real: Callable[[int], float] = getattr(time, name)

    def clock(number: int, /) -> float:
        here = world.current()
        if here is None or number not in _OFFSETS:
            return real(number)
        now = here.net.now + _OFFSETS[number]
        return round(now * 1e9) if name.endswith("_ns") else now

    return clock


def _calendar(name: str) -> Callable[..., Any]:
    """What stands for a function of `time` that tells of now, unless its last argument is another moment."""
    real: Callable[..., Any] = getattr(time, name)
    place = 1 if name == "strftime" else 0
    in_fields = name in ("asctime", "strftime")

    def told(*args: Any) -> Any:
        here = world.current()
        if here is None or args[place:] not in ((), (None,)):
            return real(*args)
        now = here.net.now + _EPOCH
        return real(*args[:place], _real_localtime(now) if in_fields else now)

    told.__name__ = told.__qualname__ = name
    return told


_real_localtime = time.localtime

CLOCKS = {
    **{
        name: _clock(name)
        for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
    },
    **{name: _clock_by_number(name) for name in ("clock_gettime", "clock_gettime_ns") if hasattr(time, name)},
    **{name: _calendar(name) for name in ("asctime", "ctime", "gmtime", "localtime", "strftime")},
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


def getrandom(size: int, flags: int = 0) -> bytes:
    """`os.getrandom`."""
    here = world.current()
    if here is not None:
        return here.entropy.randbytes(size)
    assert _real_getrandom is not None  # it stands in the place of it
    return _real_getrandom(size, flags)


def seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
    """`random.Random.seed`: without a seed of its own, a generator gets one from the run's."""
    here = world.current()
    if a is None and here is not None and type(self) is random.Random:
        a = here.entropy.getrandbits(64)
    _real_seed(self, a, version)
