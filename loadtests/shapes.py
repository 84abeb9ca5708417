"""The shapes of a load: how many users when, how long each pauses, which agents die, and what a run must keep.

Pure functions of the seconds since the beginning. locust and `python -m loadtests.run` ask them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtests.thresholds import Limits

__all__ = ["SHAPES", "Shape", "Strike"]

Users = Callable[[float, int, float], int]
Pause = Callable[[float, random.Random], float]

_STEPS = 10
_BEAT = 2.0
_KEEP_ALIVE = 5.0  # vLLM's: VLLM_HTTP_TIMEOUT_KEEP_ALIVE
_DEATHS = (0.2, 0.45, 0.7)
_DEAD = 0.15


@dataclass(frozen=True, slots=True)
class Strike:
    """Rules that are armed `at` seconds into a run and heal by themselves after `lasts` seconds."""

    at: float
    lasts: float
    label: str
    rules: tuple[dict[str, Any], ...]


Strikes = Callable[[float, int, random.Random], tuple[Strike, ...]]


def _all_the_time(_: float, peak: int, __: float) -> int:
    return peak


def _spike(now: float, peak: int, duration: float) -> int:
    """A fifth of the users, and all of them in the fifth of the time in the middle."""
    return peak if 0.4 <= now / duration < 0.6 else max(1, peak // 5)


def _ramp(now: float, peak: int, duration: float) -> int:
    """Ten steps of equal height and length."""
    step = min(_STEPS, 1 + math.floor(_STEPS * now / duration))
    return max(1, math.ceil(peak * step / _STEPS))


def _think(_: float, chance: random.Random) -> float:
    return chance.uniform(0.02, 0.08)


def _none(_: float, __: random.Random) -> float:
    return 0.0


def _around_keep_alive(_: float, chance: random.Random) -> float:
    """From half a second before the server closes an idle connection to half a second after."""
    return chance.uniform(_KEEP_ALIVE - 0.5, _KEEP_ALIVE + 0.5)


def _until_the_beat(now: float, _: random.Random) -> float:
    return _BEAT - now % _BEAT


def _nobody(_: float, __: int, ___: random.Random) -> tuple[Strike, ...]:
    return ()


def _a_quarter_dies(duration: float, size: int, chance: random.Random) -> tuple[Strike, ...]:
    """Thrice a quarter of the agents, at least one, is killed and stays dead for 15 % of the time."""
    strikes = []
    for share in _DEATHS:
        dead = sorted(chance.sample(range(size), max(1, size // 4)))
        words = {"where": {"server": dead}, "for": _DEAD * duration}
        rule = {"fault": "kill", **words}
        strikes.append(Strike(share * duration, _DEAD * duration, f"{len(dead)} of {size} agents dead", (rule,)))
    return tuple(strikes)


_REUSE = Limits(failures=0.0, reuse=0.9)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: `users(now, peak, duration)`, `pause(now, chance)`, `strikes(duration, size, chance)`; in seconds."""

    about: str
    users: Users = _all_the_time
    pause: Pause = _think
    strikes: Strikes = _nobody
    limits: Limits = _REUSE


SHAPES: dict[str, Shape] = {
    "steady": Shape("the same users all the time, each pausing 20 to 80 ms"),
    "spike": Shape("a fifth of the users, and all of them for the fifth of the time in the middle", users=_spike),
    "ramp": Shape(
        "ten steps up to all users, without pauses: where throughput stops growing", users=_ramp, pause=_none
    ),
    "dying": Shape(
        "thrice a quarter of the agents dies and comes back",
        strikes=_a_quarter_dies,
        limits=Limits(failures=0.5, reuse=0.5),
    ),
    "keep-alive": Shape(
        "each user pauses around 5 s, which is when vLLM closes an idle connection: no request may be lost",
        pause=_around_keep_alive,
        limits=Limits(failures=0.0),
    ),
    "herd": Shape(
        "all users at once, every two seconds", pause=_until_the_beat, limits=Limits(failures=0.0, reuse=0.5)
    ),
}
