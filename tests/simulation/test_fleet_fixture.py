"""The fixture `fleet` in a simulated test: in the loop of each run, by its marker, with its journal in a failure."""

from __future__ import annotations

import pytest

import fleetsim.testing.in_each_run  # noqa: F401  # both, or each inner run would import its own
import simkernel.testing.telling  # noqa: F401  # as above

pytest_plugins = ["pytester"]

PLAIN = [part for name in ("randomly", "cacheprovider", "faker", "hypothesispytest") for part in ("-p", f"no:{name}")]


def run(pytester: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_it="    import asyncio, aiohttp, pytest, simkernel\n" + text)
    return pytester.runpytest_inprocess(*PLAIN, *arguments)


def test_a_fleet_lives_in_the_loop_of_each_run(pytester: pytest.Pytester) -> None:
    text = """
    @pytest.mark.fleet(size=3, ttft="80s")
    @pytest.mark.simulated(seeds=4)
    async def test_it(fleet, net, seed):
        assert (len(fleet), fleet.seed, fleet.profile.ttft) == (3, seed, 80)
        ask = {"model": fleet.profile.model, "prompt": "hi"}
        async with aiohttp.ClientSession() as session:
            async with session.post(fleet[2].base_url + "/completions", json=ask) as response:
                assert response.status == 200 and await response.read()
        assert net.now - net.started > 80
        await fleet.ledger.wait_for(requests=1, open_now=0)

    def test_with_a_thread(fleet):
        assert len(fleet) == 4
    """
    run(pytester, text).assert_outcomes(passed=2)


def test_a_failure_has_the_journal_of_the_run_that_is_told_of(pytester: pytest.Pytester) -> None:
    text = """
    @pytest.mark.simulated(seeds=2, plan=lambda random: [random.randrange(9) for _ in range(20)])
    async def test_it(fleet, plan, seed):
        async with aiohttp.ClientSession() as session:
            for step in plan:
                async with session.get(fleet[0].url + "/health") as response:
                    await response.read()
            assert seed == 0 or len(plan) < 3
    """
    result = run(pytester, text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- Fleet journal -*", "4 servers, seed 1: <Ledger of fleet: *requests=3,*"])
    result.stdout.fnmatch_lines(["*- Plan of 3 steps*"])


@pytest.mark.parametrize(
    ("marker", "fixture", "refusal"),
    [
        ("size=0", "fleet", "fleet settings: size: expected a whole number of at least 1, got 0"),
        ("", "fleet_factory", "fleet_factory: a simulated test has no threads; use `async with Fleet(...)` in it"),
    ],
)
def test_what_cannot_be_in_a_simulated_test_is_refused_before_it(
    pytester: pytest.Pytester, marker: str, fixture: str, refusal: str
) -> None:
    text = f"""
    @pytest.mark.fleet({marker})
    @pytest.mark.simulated(seeds=1)
    async def test_it({fixture}):
        pass
    """
    result = run(pytester, text)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([refusal])
