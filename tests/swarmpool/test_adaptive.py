from __future__ import annotations

from typing import Any

import pytest

from swarmpool.adaptive import Adaptive, Pacing
from swarmpool.responses import FailureKind, Response

NODE = "http://node:8000"
GOOD = Response(True, "good", wire_seconds=1.0)
REFUSED = Response(False, "", kind=FailureKind.STATUS, status=503, wire_seconds=1.0)


class Caps:
    """A limiter that is always in full use, unless told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.in_use = 10_000

    def in_use_by(self, agent: str) -> int:
        return self.in_use

    def resize(self, agent: str, cap: int) -> None:
        self.told.append(cap)


def a_pacing(**options: Any) -> tuple[Pacing, Caps]:
    caps = Caps()
    return Pacing(Adaptive(**{"initial": 4, **options}), caps), caps


def test_one_more_for_every_round_of_good_answers() -> None:
    pacing, caps = a_pacing()
    for _ in range(4):
        pacing.heard(NODE, GOOD, 1.0)
    assert pacing.limit(NODE) == 4
    pacing.heard(NODE, GOOD, 1.0)
    assert pacing.limit(NODE) == 5
    assert caps.told == [5]


def test_a_limit_that_is_not_used_does_not_rise() -> None:
    pacing, caps = a_pacing()
    caps.in_use = 1
    for _ in range(100):
        pacing.heard(NODE, GOOD, 1.0)
    assert (pacing.limit(NODE), caps.told) == (4, [])


def test_overload_multiplies_it_once_for_all_that_were_under_way() -> None:
    pacing, caps = a_pacing(initial=100, decrease=0.5)
    for now in (10.0, 10.1, 10.9):
        pacing.heard(NODE, REFUSED, now)
    assert (pacing.limit(NODE), caps.told) == (50, [50])
    pacing.heard(NODE, REFUSED, 11.1)  # it had begun at 10.1, after the decrease
    assert caps.told == [50, 25]


def test_it_stays_between_minimum_and_maximum() -> None:
    pacing, _ = a_pacing(minimum=2, maximum=6)
    for _ in range(500):
        pacing.heard(NODE, GOOD, 1.0)
    assert pacing.limit(NODE) == 6
    for now in range(100):
        pacing.heard(NODE, REFUSED, 10.0 * now)
    assert pacing.limit(NODE) == 2


def test_a_slow_answer_is_overload_where_that_is_asked() -> None:
    pacing, caps = a_pacing(initial=10, slow=0.5, decrease=0.5)
    pacing.heard(NODE, GOOD, 5.0)
    assert caps.told == [5]


@pytest.mark.parametrize("kind", [FailureKind.CONNECT, FailureKind.ABANDONED, FailureKind.TRUNCATED, FailureKind.SHAPE])
def test_what_says_nothing_about_load_changes_nothing(kind: FailureKind) -> None:
    pacing, caps = a_pacing()
    for now in range(50):
        pacing.heard(NODE, Response(False, "", kind=kind), 10.0 * now)
    assert caps.told == []


def test_each_agent_has_a_limit_of_its_own() -> None:
    pacing, _ = a_pacing(decrease=0.5)
    pacing.heard(NODE, REFUSED, 5.0)
    assert (pacing.limit(NODE), pacing.limit("http://other:8000")) == (2, 4)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"minimum": 0}, "Adaptive.minimum must be at least 1, not 0"),
        ({"initial": 300}, "Adaptive.initial must be from minimum=1 to maximum=256, not 300"),
        ({"decrease": 1.0}, "Adaptive.decrease must be between 0 and 1, not 1.0"),
        ({"decrease": "x"}, "Adaptive.decrease must be a number between 0 and 1, not 'x'"),
        ({"slow": 0}, "Adaptive.slow must be a number of seconds above 0, not 0"),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Adaptive(**options)
