"""How a time varies about its mean."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Literal

__all__ = ["Draw", "jitter"]

Draw = Callable[[float], float]


def jitter(kind: Literal["none", "normal", "lognormal"], spread: float, chance: random.Random | None) -> Draw:
    """Return what draws a time of a given mean, never below 0, with a standard deviation of `spread` times the mean.

    It is `float` where nothing varies. Raises ValueError when `chance` is missing though it does.
    """
    if kind == "none" or not spread:
        return float
    if chance is None:
        raise ValueError(f"chance: expected a random.Random for jitter {kind!r}, got None")
    if kind == "normal":
        return lambda mean: max(0.0, chance.gauss(mean, mean * spread))
    # The logarithm's parameters for which mean and standard deviation come out as asked.
    sigma = math.sqrt(math.log1p(spread * spread))
    return lambda mean: mean * chance.lognormvariate(-sigma * sigma / 2, sigma)
