from __future__ import annotations

import random
from typing import Any

import pytest

from fleetsim.engine.step_time import Constant, Linear, Polynomial, StepClock, Table, step_time
from fleetsim.engine.steps import Load

MEASURED = Table(prefill=((0, 0.0), (1_000, 0.1)), decode=((1, 0.010), (11, 0.020)), base=0.001)


def test_constant_tells_steps_with_a_prompt_from_others() -> None:
    model = Constant(ttft=0.08, itl=0.01)
    assert (model.seconds(Load(5, 3)), model.seconds(Load(0, 300))) == (0.08, 0.01)


def test_linear_adds_up_what_the_step_computes() -> None:
    model = Linear(base=1, per_prefill_token=0.1, per_sequence=0.01, per_context_token=0.001)
    assert model.seconds(Load(20, 30, 400)) == pytest.approx(1 + 2 + 0.3 + 0.4)


@pytest.mark.parametrize(("tokens", "milliseconds"), [(512, 24.4), (2_048, 49.4), (8_192, 169.1)])
def test_the_polynomial_says_of_prompts_what_dynamo_says(tokens: int, milliseconds: float) -> None:
    assert Polynomial().seconds(Load(tokens)) * 1_000 == pytest.approx(milliseconds, abs=0.05)


@pytest.mark.parametrize(("usage", "milliseconds"), [(0.1, 10.9), (0.5, 26.3), (1.0, 34.0)])
def test_the_polynomial_says_of_decoding_what_dynamo_says(usage: float, milliseconds: float) -> None:
    assert Polynomial().seconds(Load(0, 1, kv_usage=usage)) * 1_000 == pytest.approx(milliseconds, abs=0.05)


def test_the_polynomial_adds_both_where_both_are() -> None:
    both = Polynomial().seconds(Load(512, 1, kv_usage=0.5))
    assert both * 1_000 == pytest.approx(24.4 + 26.3, abs=0.1)


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        (Load(500), 0.051),
        (Load(2_000), 0.201),
        (Load(0, 6), 0.016),
        (Load(0, 21), 0.031),
        (Load(500, 6), 0.001 + 0.05 + 0.3 * 0.015),
    ],
    ids=["between", "beyond", "decode", "decode beyond", "both"],
)
def test_the_table_has_straight_lines_between_its_points_and_beyond(load: Load, seconds: float) -> None:
    assert MEASURED.seconds(load) == pytest.approx(seconds)


def test_a_model_is_found_by_its_name() -> None:
    assert step_time({"kind": "constant", "ttft": 0.1, "itl": 0.01}) == Constant(ttft=0.1, itl=0.01)
    assert step_time({"kind": "linear", "base": 1}) == Linear(base=1)
    assert step_time({"kind": "polynomial"}) == Polynomial()
    points = {"prefill": [[0, 0], [1_000, 0.1]], "decode": [[1, 0.010], [11, 0.020]], "base": 0.001}
    assert step_time({"kind": "table", **points}) == MEASURED


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kind": "cubic"}, "step time: Invalid value 'cubic'"),
        ({"kind": "linear"}, "step time: Object missing required field `base`"),
        ({"kind": "linear", "base": -1}, "step time: base: expected a number of at least 0, got -1"),
        ({"kind": "constant", "ttft": 1, "itl": 1, "ttl": 1}, "step time: Object contains unknown field `ttl`"),
        ({"kind": "polynomial", "decode": []}, "step time: decode: expected at least one coefficient"),
        ({"kind": "table", "prefill": [[1, 1]], "decode": [[1, 1]]}, "step time: prefill: expected at least two"),
        ({"kind": "table", "prefill": [[1, 1], [1, 2]], "decode": []}, "step time: prefill: .* by rising first values"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        step_time(settings)


def test_the_clock_scales_what_the_model_says() -> None:
    clock = StepClock(Constant(ttft=1, itl=0.5), time_scale=0.1)
    assert (clock.seconds(Load(1)), clock.seconds(Load(0, 1))) == (0.1, 0.05)


def test_a_step_that_computes_nothing_takes_no_time() -> None:
    assert StepClock(Constant(ttft=1, itl=1)).seconds(Load()) == 0


def test_the_clock_varies_by_seed() -> None:
    def drawn(seed: int) -> list[float]:
        clock = StepClock(Constant(ttft=1, itl=1), kind="lognormal", chance=random.Random(seed))
        return [clock.seconds(Load(1)) for _ in range(5)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "uniform"}, "jitter: expected none, normal or lognormal, got 'uniform'"),
        ({"time_scale": -1}, "time_scale: expected a number of at least 0, got -1"),
        ({"spread": float("nan")}, "spread: expected a number of at least 0, got nan"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        StepClock(Constant(ttft=1, itl=1), **options)
