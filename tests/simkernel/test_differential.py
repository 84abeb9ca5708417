"""Whatever unmodified aiohttp does on real loopback sockets, it does in a simulation: the same results, exceptions with
errno and cause, and counts of connections, told by each actor in the same order."""

from __future__ import annotations

import asyncio

import pytest
import scenarios_endings
import scenarios_exchanges
from differential import SCENARIOS, play

import simkernel

ALL = [scenarios_endings, scenarios_exchanges]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_simulation_gives_what_loopback_gives(name: str) -> None:
    real = asyncio.run(play(SCENARIOS[name]))
    for seed in range(3):
        simulated = simkernel.run(lambda net: play(SCENARIOS[name]), seed=seed)
        assert simulated.value == real, seed
    assert real


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_seed_is_the_same_every_time(name: str) -> None:
    simkernel.verify(lambda net: play(SCENARIOS[name]), seed=4711, latency=0.002)


def test_there_are_36() -> None:
    assert len(SCENARIOS) == 36
