from __future__ import annotations

import pytest

from loadtests.bench.peers.plan import FULL, QUICK, Plan


def test_a_warm_up_asks_each_agent_and_fills_what_is_in_flight() -> None:
    assert [FULL.warm_up(agents) for agents in FULL.requests] == [128, 128, 1024]


def test_the_full_plan_has_all_sizes_and_the_quick_one_does_less() -> None:
    assert [*FULL.requests] == [1, 64, 1024]
    assert max(QUICK.requests) < 1024
    assert (QUICK.seconds, QUICK.rounds) < (FULL.seconds, FULL.rounds)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rounds", 0, "^rounds must be at least 1, not 0"),
        ("starts", 0, "^starts must be at least 1, not 0"),
        ("seconds", 0.0, "^seconds must be above 0, not 0"),
        ("warm_up_seconds", -1.0, "^warm_up_seconds must be above 0, not -1"),
        ("requests", {64: 10}, "^requests must ask each of 64 agents, at least once, not be 10"),
        ("requests", {0: 10}, "^requests must ask each of 0 agents"),
    ],
)
def test_a_plan_that_measures_nothing_is_refused(field: str, value: object, said: str) -> None:
    good: dict[str, object] = {"requests": {1: 1}, "seconds": 1.0, "warm_up_seconds": 1.0, "rounds": 1, "starts": 1}
    with pytest.raises(ValueError, match=said):
        Plan(**{**good, field: value})  # type: ignore[arg-type]  # one of them is wrong, that is the point
