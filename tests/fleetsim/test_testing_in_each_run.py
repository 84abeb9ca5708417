"""A simulated test's `fleet` is entered by each run, with the run's seed, and leaves an account."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import aiohttp

from fleetsim.testing.in_each_run import InEachRun
from fleetsim.testing.journal import Account


async def test_a_fleet_is_entered_and_its_account_kept_as_it_was_when_the_test_ended() -> None:
    kept: list[Account] = []
    given = InEachRun({"size": 2, "ttft": "80ms"}, kept.append)
    with contextlib.suppress(LookupError):
        async with given.__simulated__(SimpleNamespace(seed=4711)) as fleet, aiohttp.ClientSession() as session:
            assert (len(fleet), fleet.seed, fleet.profile.ttft) == (2, 4711, 0.08)
            async with session.get(fleet[1].url + "/health") as response:
                await response.read()
            raise LookupError
    assert [(account.seed, account.figures.requests) for account in kept] == [(4711, 1)]


async def test_a_seed_of_the_settings_goes_before_the_runs() -> None:
    async with InEachRun({"seed": 3}, print).__simulated__(SimpleNamespace(seed=4711)) as fleet:
        assert fleet.seed == 3
