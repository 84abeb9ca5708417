"""The pytest plugin: an async test marked `simulated` runs in a simulated world, under one seed after the other.

    @pytest.mark.simulated(seeds=200, latency=0.005)
    async def test_it(net, seed): ...

Each block of seeds is one item (`test_it[seeds 0-49]`), so that workers share them. The first seed that fails is the
item's failure: its report has the seed, the plan that failed made as small as can be, the last events, and the line
that runs it again.

pytest loads this module in every run of everybody who has the package: it imports nothing of the kernel until a
simulated test runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Iterable
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any

import pytest

from simkernel.testing.seeds import BLOCK, Block, blocks, read_count, read_seed, read_seeds
from simkernel.testing.stand_in import MARK, SEEDS, is_stand_in, ordinary_arguments, take_place, world_arguments

if TYPE_CHECKING:
    from simkernel.testing.marks import Wanted

SECTIONS = pytest.StashKey[Iterable[tuple[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simkernel", "tests in simulated worlds (simkernel)")
    seeds = group.addoption
    seeds("--sim-seeds", metavar="FROM:TO", type=argument(read_seeds), help="seeds of every simulated test: 0:20000")
    seeds("--sim-seed", metavar="N", type=argument(read_seed), help="the one seed of every simulated test")
    seeds("--sim-block", metavar="N", type=argument(read_count), default=BLOCK, help=f"seeds per item ({BLOCK})")
    seeds("--sim-tries", metavar="N", type=argument(read_seed), default=200, help="runs to make a plan small (200)")
    seeds(
        "--sim-check",
        choices=("first", "blocks", "off"),
        default="first",
        help="run the first seed of each test, or of each block, twice and compare (first)",
    )


def argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """Return `read` with its refusal in the words of a command line."""

    def read_argument(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read_argument


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "simulated(seeds=200, plan=None, simpler=None, latency=..., ...): run this async test in a simulated world "
        "under each seed; settings by the names of simkernel.Settings",
    )
    if config.getoption("sim_seed") is not None and config.getoption("sim_seeds") is not None:
        raise pytest.UsageError("--sim-seed and --sim-seeds: expected one of them")


# Collecting.


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> Any:
    simulated = take_place(collector, name, obj)
    if simulated is None:
        return None
    return collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=simulated)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if is_stand_in(metafunc.function):
        seeds = seeds_of(metafunc.config, wanted_of(metafunc.definition))
        found = blocks(seeds, metafunc.config.getoption("sim_block"))
        metafunc.parametrize(SEEDS, found, ids=[block.name for block in found], indirect=True)


def wanted_of(item: pytest.Item) -> Wanted:
    """Return what the test's marks say, or fail."""
    from simkernel.testing.marks import wanted  # noqa: PLC0415 (with the settings, which other tests do without)

    try:
        return wanted(item.iter_markers(MARK))
    except ValueError as error:
        refusal = str(error)
    pytest.fail(f"@pytest.mark.simulated: {refusal}", pytrace=False)


def seeds_of(config: pytest.Config, asked: Wanted) -> Any:
    """The command line goes before the mark."""
    one, several = config.getoption("sim_seed"), config.getoption("sim_seeds")
    return [one] if one is not None else several if several is not None else asked.seeds


@pytest.fixture
def simulated_seeds(request: pytest.FixtureRequest) -> Block:
    """The seeds of this item of a simulated test."""
    block: Block = request.param
    return block


# Running.


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_simulated(item):
        refuse_async_fixtures(item)
        refuse_plan(item)


def is_simulated(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and is_stand_in(item.function)


def refuse_async_fixtures(item: pytest.Item) -> None:
    """They would be made on a loop of another plugin's, which is not the loop of a run."""
    information = item._fixtureinfo  # type: ignore[attr-defined]  # noqa: SLF001  # nothing public tells what fixtures a test has before they are made
    for name, found in information.name2fixturedefs.items():
        if iscoroutinefunction(found[-1].func) or isasyncgenfunction(found[-1].func):
            pytest.fail(
                f"fixture {name!r} is async, and a simulated test has a loop of its own for each seed: "
                "make it with simkernel.testing.simulated_fixture, or within the test",
                pytrace=False,
            )


def refuse_plan(item: pytest.Item) -> None:
    """A plan that is drawn must be taken, and the other way round."""
    draws, takes = wanted_of(item).plan is not None, "plan" in world_arguments(item.function)  # type: ignore[attr-defined]  # a Function has it
    if draws and not takes:
        pytest.fail("@pytest.mark.simulated: plan: expected an argument `plan` of the test", pytrace=False)
    if takes and not draws:
        pytest.fail("argument `plan`: expected @pytest.mark.simulated(plan=...) to draw it", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not is_simulated(pyfuncitem):
        return None
    __tracebackhide__ = True
    error = find_error(pyfuncitem)
    if error is not None:
        raise error
    return True


def find_error(item: pytest.Function) -> BaseException | None:
    """Run the item's block, and return what it fails with."""
    from simkernel.testing.simulated import Simulated  # noqa: PLC0415 (the kernel, which other tests do without)
    from simkernel.testing.telling import again, sections  # noqa: PLC0415 (as above)

    block = item.funcargs[SEEDS]
    assert isinstance(block, Block)
    values = {name: item.funcargs[name] for name in ordinary_arguments(item.obj) if name in item.funcargs}
    test = Simulated(item.obj, values, wanted_of(item), tries=item.config.getoption("sim_tries"))
    checks = item.config.getoption("sim_check")
    failure = test.find_failure(block.seeds, checked=checks == "blocks" or (checks == "first" and block.is_first))
    if failure is None:
        return None
    line = again(item, block, failure.outcome.seed)
    item.stash[SECTIONS] = sections(failure, line)
    error = failure.outcome.error
    assert error is not None
    error.add_note(f"again: {line}")
    return error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        report.sections += item.stash.get(SECTIONS, [])
    return report
