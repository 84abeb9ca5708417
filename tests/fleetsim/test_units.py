from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.units import format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("80ms", 0.08),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        (" 10 ms ", 0.01),
        (".5s", 0.5),
        ("0", 0.0),
        pytest.param(0, 0.0, id="zero"),
        (0.08, 0.08),
        (3, 3.0),
    ],
)
def test_a_duration_is_read_as_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["80", "80 parsecs", "ms", "", "-1s", "1e3s", "1s2", "\u0661s", -1, True, None, math.nan, math.inf, [1]]
)
def test_anything_else_is_refused_with_the_value_and_what_was_expected(written: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 80ms") as caught:
        parse_duration(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.0, "0s"), (0.08, "80ms"), (1.5, "1.5s"), (90, "90s"), (120, "2m"), (7200, "2h"), (0.0002, "200us")],
)
def test_a_duration_is_written_in_the_unit_that_reads_best(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


@given(st.floats(min_value=1e-6, max_value=99_999))
def test_what_is_written_is_read_back(seconds: float) -> None:
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-5)
