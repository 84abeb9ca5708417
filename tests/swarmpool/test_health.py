from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.health import Breaker, BreakerState, Health, verdict
from swarmpool.responses import FailureKind, Response

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def a_breaker(**options: Any) -> Breaker:
    return Breaker(Health(**{"failures": 3, "window": 10.0, "open_seconds": 5.0, **options}))


def opened(at: float = 0.0, **options: Any) -> Breaker:
    breaker = a_breaker(**{"failures": 1, **options})
    breaker.failed(at, "refused", probe=False)
    return breaker


def test_it_opens_at_so_many_failures() -> None:
    breaker = a_breaker()
    for _ in range(2):
        breaker.failed(0.0, "refused", probe=False)
    assert breaker.state is CLOSED
    breaker.failed(0.0, "refused", probe=False)
    assert breaker.state is OPEN


def test_it_stays_closed_while_failures_are_a_small_share() -> None:
    breaker = a_breaker(share=0.5)
    for _ in range(4):
        breaker.succeeded(0.0, probe=False)
    for _ in range(3):
        breaker.failed(0.0, "cut", probe=False)
    assert breaker.state is CLOSED
    breaker.failed(0.0, "cut", probe=False)
    assert breaker.state is OPEN


def test_what_is_older_than_the_window_does_not_count() -> None:
    breaker = a_breaker(window=10.0)
    breaker.failed(0.0, "cut", probe=False)
    breaker.failed(9.0, "cut", probe=False)
    breaker.failed(10.5, "cut", probe=False)
    assert breaker.state is CLOSED
    breaker.failed(11.0, "cut", probe=False)
    assert breaker.state is OPEN


def test_nothing_is_allowed_until_its_time_is_over_and_then_one_probe() -> None:
    breaker = opened()
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)
    assert breaker.begin(5.0) is True
    assert breaker.state is HALF_OPEN
    assert not breaker.allows(99.0)


def test_to_begin_what_is_not_allowed_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="while its breaker is OPEN"):
        opened().begin(1.0)


def test_a_good_probe_closes_it_and_the_past_is_forgotten() -> None:
    breaker = a_breaker(failures=3)
    for _ in range(3):
        breaker.failed(0.0, "refused", probe=False)
    breaker.begin(5.0)
    breaker.succeeded(6.0, probe=True)
    assert breaker.state is CLOSED
    assert breaker.begin(6.0) is False
    for _ in range(2):
        breaker.failed(7.0, "refused", probe=False)
    assert breaker.state is CLOSED


def test_each_bad_probe_doubles_the_time_up_to_the_longest() -> None:
    breaker = opened(open_seconds=5.0, longest_open_seconds=15.0)
    now, waits = 5.0, []
    for _ in range(3):
        breaker.begin(now)
        breaker.failed(now, "still refused", probe=True)
        wait = next(seconds for seconds in range(100) if breaker.allows(now + seconds))
        waits.append(wait)
        now += wait
    assert waits == [10, 15, 15]


def test_after_a_good_probe_the_time_is_the_first_one_again() -> None:
    breaker = opened(open_seconds=5.0)
    breaker.begin(5.0)
    breaker.failed(5.0, "refused", probe=True)
    breaker.begin(15.0)
    breaker.succeeded(15.0, probe=True)
    breaker.failed(20.0, "refused", probe=False)
    assert breaker.allows(25.0)
    assert not breaker.allows(24.9)


def test_a_probe_that_never_tells_leaves_the_next_try_to_be_one() -> None:
    breaker = opened()
    breaker.begin(5.0)
    breaker.abandoned(6.0, probe=True)
    assert breaker.state is OPEN
    assert breaker.begin(6.0) is True


def test_tries_from_before_it_opened_are_not_heard() -> None:
    breaker = opened()
    breaker.succeeded(1.0, probe=False)
    breaker.failed(4.0, "late", probe=False)
    breaker.abandoned(4.0, probe=False)
    assert breaker.state is OPEN
    assert breaker.begin(5.0) is True
    breaker.succeeded(5.1, probe=False)
    breaker.failed(5.1, "late", probe=False)
    assert breaker.state is HALF_OPEN


def test_it_says_why() -> None:
    breaker = opened()
    assert breaker.why(1.0) == "left alone for 4.0 s more; last failure: refused"
    breaker.begin(5.0)
    assert breaker.why(5.0) == "a probe is under way; last failure: refused"


def test_every_move_is_told_with_its_time() -> None:
    moves: list[tuple[BreakerState, float]] = []
    breaker = Breaker(Health(failures=1), lambda after, now: moves.append((after, now)))
    breaker.failed(1.0, "refused", probe=False)
    breaker.begin(6.0)
    breaker.succeeded(7.0, probe=True)
    assert moves == [(OPEN, 1.0), (HALF_OPEN, 6.0), (CLOSED, 7.0)]


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "lost", "wait"]), st.booleans()), max_size=60))
def test_whatever_happens_there_is_a_probe_exactly_while_it_is_half_open(story: list[tuple[str, bool]]) -> None:
    breaker = a_breaker(failures=2, open_seconds=3.0)
    now, under_way = 0.0, list[bool]()  # the tries that have begun, and whether each is the probe
    for what, first in story:
        now += 1.0
        if breaker.allows(now):
            under_way.append(breaker.begin(now))
        assert under_way.count(True) == (breaker.state is HALF_OPEN)
        if what == "wait" or not under_way:
            continue
        probe = under_way.pop(0 if first else -1)
        if what == "good":
            breaker.succeeded(now, probe=probe)
        elif what == "bad":
            breaker.failed(now, "bad", probe=probe)
        else:
            breaker.abandoned(now, probe=probe)
        assert under_way.count(True) == (breaker.state is HALF_OPEN)
    for probe in under_way:
        breaker.abandoned(now, probe=probe)
    assert breaker.allows(now + 1e6)


@pytest.mark.parametrize(
    ("kind", "status", "fit"),
    [
        (None, 200, True),
        (FailureKind.STATUS, 400, True),
        (FailureKind.STATUS, 429, True),
        (FailureKind.STATUS, 500, False),
        (FailureKind.STATUS, 503, False),
        (FailureKind.SHAPE, 200, True),
        (FailureKind.MISSING, 200, True),
        (FailureKind.CONNECT, None, False),
        (FailureKind.TIMEOUT, None, False),
        (FailureKind.TRUNCATED, 200, False),
        (FailureKind.ABORTED, 200, False),
        (FailureKind.TLS, None, False),
        (FailureKind.CLOSED, None, None),
        (FailureKind.ABANDONED, 200, None),
        (FailureKind.QUEUE_TIMEOUT, None, None),
        (FailureKind.DESCRIPTORS, None, None),
    ],
)
def test_what_a_result_says_about_its_agent(kind: FailureKind | None, status: int | None, fit: bool | None) -> None:
    assert verdict(Response(kind is None, "", kind=kind, status=status)) is fit


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"failures": 0}, "Health.failures must be at least 1, not 0"),
        ({"failures": 257}, "Health.failures must be at most 256, not 257"),
        ({"share": 2}, "Health.share must be a number from 0 to 1, not 2"),
        ({"window": 0}, "Health.window must be a number of seconds above 0, not 0"),
        ({"longest_open_seconds": 1.0}, "Health.longest_open_seconds must be at least open_seconds=5.0, not 1.0"),
        ({"probe": "ping"}, "Health.probe must be 'request' or 'health', not 'ping'"),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Health(**options)
