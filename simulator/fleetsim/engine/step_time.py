"""How long a step takes, by what it computes: models of a GPU, each by its name.

All say seconds for a `Load`. They are pure: jitter and scale are `StepClock`'s.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import msgspec

from fleetsim.engine.jitter import jitter
from fleetsim.engine.steps import Load

__all__ = ["Constant", "Linear", "Polynomial", "StepClock", "StepTime", "Table", "step_time"]


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    def _check(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")


class Constant(_Model, frozen=True, kw_only=True):
    """`ttft` seconds for a step with tokens of a prompt in it, `itl` for any other."""

    ttft: float
    itl: float

    def __post_init__(self) -> None:
        self._check("ttft", "itl")

    def seconds(self, load: Load) -> float:
        return self.ttft if load.prefill_tokens else self.itl


class Linear(_Model, frozen=True, kw_only=True):
    """`base` seconds, and so many for each token of a prompt, each sequence that decodes, each token of context."""

    base: float
    per_prefill_token: float = 0.0
    per_sequence: float = 0.0
    per_context_token: float = 0.0

    def __post_init__(self) -> None:
        self._check("base", "per_prefill_token", "per_sequence", "per_context_token")

    def seconds(self, load: Load) -> float:
        return (
            self.base
            + self.per_prefill_token * load.prefill_tokens
            + self.per_sequence * load.decode_sequences
            + self.per_context_token * load.context_tokens
        )


class Polynomial(_Model, frozen=True, kw_only=True):
    """Two polynomials: of the tokens of prompts in the step, and of the used part of the KV cache; the sum of both.

    Coefficients are in milliseconds, highest power first; the defaults are those NVIDIA Dynamo's mocker came with
    (ai-dynamo/dynamo, lib/mocker/src/common/perf_model.rs). A step that decodes takes at least `least_decode`.
    """

    prefill: tuple[float, ...] = (4.209989e-7, 1.518344e-2, 16.50142)
    decode: tuple[float, ...] = (-25.74, 54.01, 5.74)
    least_decode: float = 1.0

    def __post_init__(self) -> None:
        self._check("least_decode")
        for name in ("prefill", "decode"):
            coefficients = getattr(self, name)
            if not coefficients or not all(map(math.isfinite, coefficients)):
                raise ValueError(f"{name}: expected at least one coefficient, all finite, got {coefficients!r}")

    def seconds(self, load: Load) -> float:
        prefill = max(0.0, _horner(self.prefill, load.prefill_tokens)) if load.prefill_tokens else 0.0
        decode = max(self.least_decode, _horner(self.decode, load.kv_usage)) if load.decode_sequences else 0.0
        return (prefill + decode) / 1_000


class Table(_Model, frozen=True, kw_only=True):
    """Measured points, in seconds, with straight lines between them and beyond the last two.

    `prefill` has pairs of tokens of prompts and seconds, `decode` of sequences and seconds. Where a step does both, the
    shorter is hidden behind the longer but for `overlap` of it (like955/vllm-sim, src/vllm_sim/timing/model.py).
    """

    prefill: tuple[tuple[float, float], ...]
    decode: tuple[tuple[float, float], ...]
    base: float = 0.0
    overlap: float = 0.3

    def __post_init__(self) -> None:
        self._check("base", "overlap")
        for name in ("prefill", "decode"):
            _check_points(name, getattr(self, name))

    def seconds(self, load: Load) -> float:
        prefill = _between(self.prefill, load.prefill_tokens) if load.prefill_tokens else 0.0
        decode = _between(self.decode, load.decode_sequences) if load.decode_sequences else 0.0
        return self.base + max(prefill, decode) + self.overlap * min(prefill, decode)


StepTime = Constant | Linear | Polynomial | Table


def step_time(settings: Mapping[str, Any]) -> StepTime:
    """Return the model that `settings` describe: `kind` (constant, linear, polynomial or table) and its values.

    Raises ValueError naming what cannot be.
    """
    try:
        model: StepTime = msgspec.convert(settings, type=StepTime)
    except msgspec.ValidationError as error:
        raise ValueError(f"step time: {error}") from error
    return model


class StepClock:
    """How long each step takes: what `model` says, varied by `kind` and `spread`, times `time_scale`.

    A `time_scale` of 0.1 is ten times as fast. `chance` is needed only where jitter is on.
    Raises ValueError for what cannot be.
    """

    __slots__ = ("_draw", "_scale", "_seconds", "varies")

    def __init__(
        self,
        model: StepTime,
        *,
        kind: Literal["none", "normal", "lognormal"] = "none",
        spread: float = 0.1,
        time_scale: float = 1.0,
        chance: random.Random | None = None,
    ) -> None:
        if kind not in ("none", "normal", "lognormal"):
            raise ValueError(f"jitter: expected none, normal or lognormal, got {kind!r}")
        for name, value in (("spread", spread), ("time_scale", time_scale)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")
        self._draw = jitter(kind, spread, chance)
        self._seconds, self._scale = model.seconds, time_scale
        self.varies = self._draw is not float

    def seconds(self, load: Load) -> float:
        """Return how long a step of that load takes this time; one that computes nothing takes none."""
        return self._scale * self._draw(self._seconds(load)) if load.tokens else 0.0


def _horner(coefficients: tuple[float, ...], value: float) -> float:
    result = 0.0
    for coefficient in coefficients:
        result = result * value + coefficient
    return result


def _check_points(name: str, points: tuple[tuple[float, float], ...]) -> None:
    if len(points) < 2 or any(left[0] >= right[0] for left, right in pairwise(points)):
        raise ValueError(f"{name}: expected at least two points, by rising first values, got {points!r}")
    if not all(math.isfinite(value) and value >= 0 for point in points for value in point):
        raise ValueError(f"{name}: expected numbers of at least 0, got {points!r}")


def _between(points: tuple[tuple[float, float], ...], where: float) -> float:
    right = min(max(1, bisect_left(points, where, key=lambda point: point[0])), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return max(0.0, y0 + (y1 - y0) * (where - x0) / (x1 - x0))
