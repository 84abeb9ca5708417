from __future__ import annotations

import subprocess

import pytest

from loadtests.bench.worlds import Load, play

FEW = Load(agents=4, in_flight=4, seconds=30.0)


@pytest.mark.parametrize("contestant", ["bare", "pool"])
def test_in_a_simulated_world_each_user_asks_once_in_each_answers_time(contestant: str) -> None:
    taken = play(contestant, "simulated", FEW)
    assert (taken.requests, taken.failed) == (4 * 3, 0)
    assert 30 < taken.seconds < 40.1
    assert min(taken.per_second, taken.speed, taken.cpu_each, taken.memory) > 0


@pytest.mark.parametrize("contestant", ["bare", "pool"])
def test_the_same_load_is_played_on_loopback(contestant: str) -> None:
    taken = play(contestant, "loopback", Load(agents=4, in_flight=4, seconds=0.3, latency=0.01))
    assert taken.requests >= 4
    assert 0 < taken.seconds <= taken.wall


def test_a_load_that_cannot_be_played_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        play("nobody", "simulated", FEW)
