from __future__ import annotations

import math
from random import Random

import pytest

from swarmpool.connection_pool.backoff import Backoff


def backoff(delay: float | None = 1.0, most: float = 8.0, seed: int = 1) -> Backoff:
    return Backoff(delay=delay, most=most, random=Random(seed))


def fail(trouble: Backoff, times: int) -> list[float]:
    """The seconds it waits after each of that many failures, one after the other."""
    waits = []
    for number in range(times):
        now = 100.0 * (number + 1)
        trouble.failed(now - 1, now)
        waits.append(trouble.until - now)
    return waits


def test_each_failure_doubles_the_wait_up_to_the_most() -> None:
    for wait, whole in zip(fail(backoff(), 6), [1, 2, 4, 8, 8, 8], strict=True):
        assert whole / 2 <= wait <= whole


def test_waits_come_from_the_seed() -> None:
    assert fail(backoff(seed=3), 5) == fail(backoff(seed=3), 5) != fail(backoff(seed=4), 5)


def test_dials_that_fail_together_are_one_failure() -> None:
    trouble = backoff()
    for _ in range(50):
        trouble.failed(10.0, 11.0)
    assert trouble.failures == 1


def test_a_success_ends_it() -> None:
    trouble = backoff()
    fail(trouble, 5)
    assert trouble.active
    trouble.succeeded()
    assert (trouble.active, trouble.failures, trouble.until) == (False, 0, -math.inf)
    assert fail(trouble, 1)[0] <= 1.0


def test_without_a_delay_it_never_waits() -> None:
    trouble = backoff(delay=None)
    trouble.failed(1.0, 2.0)
    assert (trouble.active, trouble.failures, trouble.until) == (False, 1, -math.inf)


def test_a_server_that_is_away_for_ever_overflows_nothing() -> None:
    assert fail(backoff(), 3_000)[-1] == pytest.approx(8.0, rel=0.5)
