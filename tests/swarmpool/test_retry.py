from __future__ import annotations

from random import Random
from typing import Any

import pytest

from swarmpool.responses import FailureKind, Response
from swarmpool.retry import Budget, Retry, is_final, is_safe

REFUSED = Response(False, "", kind=FailureKind.CONNECT)


def status(code: int, **more: Any) -> Response:
    return Response(False, "", kind=FailureKind.STATUS, status=code, **more)


def broken(kind: FailureKind, **more: Any) -> Response:
    return Response(False, "", kind=kind, **more)


def a_budget(tried: int = 1, now: float = 0.0, **options: Any) -> Budget:
    budget = Budget(Retry(**{"jitter": 0.0, **options}), Random(1), now)
    budget.tries = tried
    return budget


@pytest.mark.parametrize(
    "failed",
    [
        REFUSED,
        broken(FailureKind.CONNECT_TIMEOUT),
        broken(FailureKind.DNS),
        broken(FailureKind.RESET, connection="reused"),
        broken(FailureKind.DISCONNECTED, connection="reused"),
        status(429),
        status(503),
    ],
    ids=str,
)
def test_what_the_agent_has_surely_not_begun_is_safe(failed: Response) -> None:
    assert is_safe(failed)
    assert a_budget().pause_after(failed, 0.0) is not None


@pytest.mark.parametrize(
    "failed",
    [
        broken(FailureKind.RESET, connection="new"),
        broken(FailureKind.DISCONNECTED, connection="new"),
        broken(FailureKind.RESET, connection="reused", status=200),
        broken(FailureKind.RESET, connection="reused", wire_seconds=1.1),
        broken(FailureKind.DISCONNECTED, connection="reused", wire_seconds=30.0),
        broken(FailureKind.TRUNCATED, connection="reused", status=200),
        broken(FailureKind.TIMEOUT, connection="reused"),
        broken(FailureKind.ABORTED, status=200),
        broken(FailureKind.INCOMPLETE, status=200),
        status(500),
        status(502),
    ],
    ids=str,
)
def test_what_the_agent_may_have_begun_is_tried_again_only_if_the_caller_says_so(failed: Response) -> None:
    assert not is_safe(failed)
    assert a_budget().pause_after(failed, 0.0) is None
    assert a_budget(unsafe=True).pause_after(failed, 0.0) is not None


@pytest.mark.parametrize(
    "response",
    [
        Response(True, "good", status=200),
        status(400),
        status(401),
        status(404),
        status(301),
        *map(
            broken,
            [
                FailureKind.TLS,
                FailureKind.CLOSED,
                FailureKind.SHAPE,
                FailureKind.MISSING,
                FailureKind.ABANDONED,
                FailureKind.DESCRIPTORS,
                FailureKind.QUEUE_TIMEOUT,
                FailureKind.TOO_MANY_WAITING,
                FailureKind.UNAVAILABLE,
            ],
        ),
    ],
    ids=str,
)
def test_what_no_second_try_can_mend_is_final(response: Response) -> None:
    assert is_final(response)
    assert a_budget(unsafe=True).pause_after(response, 0.0) is None


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_is_either_final_or_tried_again_at_the_callers_wish(kind: FailureKind) -> None:
    failed = broken(kind, status=500 if kind is FailureKind.STATUS else None)
    assert is_final(failed) is (a_budget(unsafe=True).pause_after(failed, 0.0) is None)


def test_the_tries_are_counted_in_all() -> None:
    assert a_budget(tried=2, tries=3).pause_after(REFUSED, 0.0) is not None
    assert a_budget(tried=3, tries=3).pause_after(REFUSED, 0.0) is None


def test_one_try_is_none_again() -> None:
    assert a_budget(tries=1).pause_after(REFUSED, 0.0) is None


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [a_budget(tried=n, tries=99, pause=1.0, longest_pause=5.0).pause_after(REFUSED, 0.0) for n in range(1, 6)]
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_thousand_tries_do_not_overflow() -> None:
    assert a_budget(tried=5000, tries=9999).pause_after(REFUSED, 0.0) == 5.0


def test_jitter_takes_away_up_to_its_fraction_and_repeats_with_the_seed() -> None:
    def pauses(seed: int) -> list[float]:
        budget = Budget(Retry(pause=1.0, longest_pause=1.0, tries=99, jitter=0.5), Random(seed), 0.0)
        return [budget.pause_after(REFUSED, 0.0) or 0.0 for _ in range(50)]

    assert all(0.5 <= pause <= 1.0 for pause in pauses(3))
    assert len(set(pauses(3))) == 50
    assert pauses(3) == pauses(3) != pauses(4)


def test_no_try_begins_after_the_seconds() -> None:
    budget = a_budget(now=100.0, seconds=10.0, pause=2.0)
    assert budget.pause_after(REFUSED, 108.0) == 2.0
    assert budget.pause_after(REFUSED, 108.1) is None


def test_none_turns_the_seconds_off() -> None:
    assert a_budget(seconds=None).pause_after(REFUSED, 1e9) is not None


def test_retry_after_is_the_least_pause() -> None:
    assert a_budget(pause=1.0).pause_after(status(429, retry_after=7.0), 0.0) == 7.0
    assert a_budget(pause=1.0).pause_after(status(429, retry_after=0.0), 0.0) == 1.0


def test_a_retry_after_above_the_longest_is_not_waited_for() -> None:
    assert a_budget(longest_retry_after=30.0).pause_after(status(503, retry_after=31.0), 0.0) is None


def test_elsewhere_there_is_nothing_to_wait_for() -> None:
    assert a_budget().pause_after(status(429, retry_after=99.0), 0.0, elsewhere=True) == 0.0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tries": 0}, "Retry.tries must be at least 1, not 0"),
        ({"tries": 2.5}, "Retry.tries must be a whole number, not 2.5"),
        ({"seconds": 0}, "Retry.seconds must be a number of seconds above 0, not 0"),
        ({"pause": -1}, "Retry.pause must be a number of seconds of at least 0, not -1"),
        ({"longest_pause": "5"}, "Retry.longest_pause must be a number of seconds, not '5'"),
        ({"longest_retry_after": float("nan")}, "Retry.longest_retry_after must be a number"),
        ({"jitter": 1.5}, "Retry.jitter must be a number from 0 to 1, not 1.5"),
        ({"jitter": True}, "Retry.jitter must be a number from 0 to 1, not True"),
        ({"unsafe": 1}, "Retry.unsafe must be True or False, not 1"),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Retry(**options)
