from __future__ import annotations

import pytest

from fleetsim.explain.figures import BUCKETS, Recorder, Spread, spread, weighted_spread


def test_percentiles_are_by_nearest_rank() -> None:
    assert spread(range(1, 101)) == Spread(mean=50.5, p50=50, p90=90, p99=99, max=100)
    assert spread([7.0]) == Spread(mean=7, p50=7, p90=7, p99=7, max=7)


def test_nothing_is_spread_at_zero() -> None:
    assert spread([]) == Spread()


def test_weights_count_as_so_many_values() -> None:
    assert weighted_spread([(2.0, 1), (1.0, 99)]) == spread([1.0] * 99 + [2.0])


def test_steps_are_told_by_when_they_begin() -> None:
    recorder = Recorder(until=BUCKETS * 10.0)
    recorder.worked(0.0, 5.0, 2, running=3, waiting=1, kv_usage=0.25)
    recorder.worked(15.0, 5.0, 1, running=1, waiting=0, kv_usage=0.1)
    recorder.worked(10_000.0, 10.0, 1, running=9, waiting=9, kv_usage=0.5)
    figures = recorder.figures(requests=0, prompt_tokens=1, seconds=40.0)
    assert (figures.running[:3], figures.waiting[:3]) == ((3, 1, 0), (1, 0, 0))
    assert (figures.steps, figures.busy, figures.peak_kv_usage) == (4, 0.5, 0.5)
    assert figures.mean_running == pytest.approx((3 * 5 + 1 * 5 + 9 * 10) / 20)


@pytest.mark.parametrize(
    ("queued", "growing"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], True),
        ([0.0, 0.001, 0.002, 0.003], False),
        ([3.0, 1.0, 2.0, 4.0], False),
        ([5.0], False),
    ],
    ids=["ever longer", "too short to matter", "up and down", "too few"],
)
def test_a_queue_grows_when_each_quarter_waits_longer_than_the_one_before(queued: list[float], growing: bool) -> None:
    recorder = Recorder(until=1.0)
    recorder.queue.extend(queued)
    assert recorder.figures(requests=0, prompt_tokens=1, seconds=1.0).growing is growing
