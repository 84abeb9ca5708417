from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from fleetsim.explain.workload import Workload


def test_requests_arrive_in_order_at_the_rate_asked_for() -> None:
    times = Workload(rate=4, requests=20_000, seed=7).arrivals()
    assert len(times) == 20_000
    assert all(left <= right for left, right in pairwise(times))
    assert times[-1] == pytest.approx(5_000, rel=0.05)


def test_the_seed_says_when() -> None:
    first, same, other = (Workload(rate=4, requests=9, seed=seed).arrivals() for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_only_full_blocks_of_the_common_prefix_have_keys() -> None:
    assert len(Workload(rate=1, prompt=100, prefix=47).keys(16)) == 2
    assert Workload(rate=1).keys(16) == ()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"rate": 0}, "rate: expected requests per second, more than 0, got 0"),
        ({"rate": float("nan")}, "rate: expected requests per second, more than 0, got nan"),
        ({"rate": 1, "output": 0}, "output: expected at least 1, got 0"),
        ({"rate": 1, "prompt": 8, "prefix": 9}, "prefix: expected 0 to 8, the tokens of a prompt, got 9"),
    ],
)
def test_a_load_that_cannot_be_is_refused_by_name(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Workload(**settings)
