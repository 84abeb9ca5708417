"""The pytest plugin: a fleet of fake vLLM servers for every test that asks for one.

- `fleet`: a running fleet, shared by the tests of a process and as good as new for each of them. It runs in a thread of
  its own, so it serves plain tests, asyncio tests in a loop of any scope, and anyio's.
- `fleet_factory`: more fleets, each closed at the end of the test.
- `leak_gate`, also as a marker, an ini switch and an option: a test that leaves something behind fails.

Settings come from the command line (`--fleet-size 8`), else from `@pytest.mark.fleet(size=8)`, else from the fixtures
`fleet_size`, `fleet_seed`, `fleet_profile` and `fleet_settings`, which a conftest may override, else from the ini file
(`fleet_size = 8`). Every argument of `Fleet` and every field of `Profile` is a setting.

When a test fails, its report has a section "Fleet journal" for each fleet it had.

pytest loads this module in every run of everybody who has the package: it imports nothing of the extra, and aiohttp
neither, until a fixture is asked for.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fleetsim.extra import missing_extra
from fleetsim.testing.settings import DEFAULT_SIZE, OPTIONS, RANDOM, Setting

if TYPE_CHECKING:
    from fleetsim.fleet import Fleet
    from fleetsim.testing.depot import Depot
    from fleetsim.testing.gate import LeakGate
    from fleetsim.testing.in_each_run import InEachRun
    from fleetsim.testing.journal import Account
    from fleetsim.testing.leaks import Watch

_TRACES = ("off", "retain-on-failure", "on")

INI = pytest.StashKey[dict[str, Any]]()
COMMAND_LINE = pytest.StashKey[dict[str, Any]]()
RUN_SEED = pytest.StashKey[int]()
FLEETS: pytest.StashKey[list[Fleet]] = pytest.StashKey()
ACCOUNTS: pytest.StashKey[list[Account]] = pytest.StashKey()

GATE = "fleetsim-leak-gate"


# Options, ini, markers.


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fleet", "fleet of fake vLLM servers (fleetsim)")
    for setting in OPTIONS:
        group.addoption(setting.option, metavar=setting.metavar, type=argument(setting), help=setting.help)
        parser.addini(setting.key, setting.help, default="")
    group.addoption(
        "--fleet-trace", choices=_TRACES, help="write the fleets' journals to files as JSON lines (default: off)"
    )
    group.addoption("--fleet-trace-dir", metavar="DIR", help="where to write them (default: fleet-traces)")
    group.addoption("--fleet-leak-gate", action="store_true", help="every test goes through the leak gate")
    parser.addini("fleet_leak_gate", "whether every test goes through the leak gate", type="bool", default=False)
    parser.addini("fleet_trace", f"one of {', '.join(_TRACES)}", default="off")
    parser.addini("fleet_trace_dir", "where traces are written, from the root folder", default="fleet-traces")


def argument(setting: Setting) -> Callable[[str], object]:
    """Return `setting.read` with its refusal in the words of a command line."""

    def read(text: str) -> object:
        try:
            return setting.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fleet(size=4, seed=0, ttft='80ms', ...): settings of the `fleet` fixture, "
        "by the names of Fleet's arguments and Profile's fields",
    )
    config.addinivalue_line(
        "markers", "leak_gate(wanted=True): whether what this test leaves behind (sockets, clients, tasks) fails it"
    )
    worker = getattr(config, "workerinput", {})
    config.stash[RUN_SEED] = worker.get("fleet_run_seed", random.SystemRandom().randrange(2**32))
    config.stash[INI] = {setting.name: value for setting in OPTIONS if (value := ini_value(config, setting)) != ""}
    options = ((setting, config.getoption(setting.key)) for setting in OPTIONS)
    config.stash[COMMAND_LINE] = {setting.name: value for setting, value in options if value is not None}
    for chosen in (config.stash[INI], config.stash[COMMAND_LINE]):
        if chosen.get("seed") == RANDOM:
            chosen["seed"] = config.stash[RUN_SEED]
    if traced(config) not in _TRACES:
        raise pytest.UsageError(f"fleet_trace: expected one of {', '.join(_TRACES)}, got {traced(config)!r}")


def ini_value(config: pytest.Config, setting: Setting) -> object:
    """Return what the ini file says, read, or "" where it says nothing."""
    text = str(config.getini(setting.key)).strip()
    try:
        value = setting.read(text) if text else ""
    except ValueError as error:
        raise pytest.UsageError(f"{setting.key}: {error}") from error
    if setting.name == "profile" and value and config.inipath is not None:
        return str(config.inipath.parent / text)
    return value


def traced(config: pytest.Config) -> str:
    return str(config.getoption("fleet_trace") or config.getini("fleet_trace"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: every worker takes the random seed that the header names."""
    node.workerinput["fleet_run_seed"] = node.config.stash[RUN_SEED]


def pytest_report_header(config: pytest.Config) -> str | None:
    if importlib.util.find_spec("msgspec") is None:
        return None
    ini, given = config.stash[INI], config.stash[COMMAND_LINE]
    seed = given.get("seed", ini.get("seed", 0))
    again = f"--fleet-seed={seed}" if "seed" in given else f"-o fleet_seed={seed}"
    return f"fleet: size {given.get('size', ini.get('size', DEFAULT_SIZE))}, seed {seed} (again: {again})"


# Settings, in the order of their precedence.


@pytest.fixture(scope="session")
def fleet_size(pytestconfig: pytest.Config) -> int:
    """How many servers a fleet has. Override it to change that for a folder or a module."""
    return int(pytestconfig.stash[INI].get("size", DEFAULT_SIZE))


@pytest.fixture(scope="session")
def fleet_seed(pytestconfig: pytest.Config) -> int | None:
    """What chooses words, jitter and faults; None takes the profile's."""
    seed: int | None = pytestconfig.stash[INI].get("seed")
    return seed


@pytest.fixture(scope="session")
def fleet_profile(pytestconfig: pytest.Config) -> Any:
    """What each server is: a Profile, the path of a YAML file, or None for the defaults."""
    return pytestconfig.stash[INI].get("profile")


@pytest.fixture(scope="session")
def fleet_settings() -> dict[str, Any]:
    """Any further settings, by the names of Fleet's arguments and Profile's fields: `{"ttft": "80ms"}`."""
    return {}


@pytest.fixture
def _fleet_chosen(
    request: pytest.FixtureRequest,
    fleet_size: int,
    fleet_seed: int | None,
    fleet_profile: Any,
    fleet_settings: dict[str, Any],
) -> dict[str, Any]:
    """All settings for this test."""
    chosen = request.config.stash[INI] | {"size": fleet_size, "seed": fleet_seed, "profile": fleet_profile}
    chosen |= fleet_settings | marked(request.node) | request.config.stash[COMMAND_LINE]
    return {name: value for name, value in chosen.items() if value is not None or name not in ("seed", "profile")}


def marked(item: pytest.Item) -> dict[str, Any]:
    """Return the settings of the test's `fleet` markers: its own go before its class's, those before its module's."""
    settings: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("fleet"))):
        if marker.args:
            pytest.fail(f"@pytest.mark.fleet takes keywords, such as size=8, got {marker.args[0]!r}", pytrace=False)
        settings |= marker.kwargs
    return settings


# The fleets.


@pytest.fixture(scope="session")
def _fleet_depot() -> Iterator[Depot]:
    try:
        from fleetsim.testing.depot import Depot  # noqa: PLC0415 (it needs the extra, and this module must not)
    except ModuleNotFoundError as error:
        skip_for_want_of_the_extra(error)
        raise
    depot = Depot()
    yield depot
    depot.close()


def skip_for_want_of_the_extra(error: ModuleNotFoundError) -> None:
    if (said := missing_extra(error)) is not None:
        pytest.skip(said)


@pytest.fixture
def fleet(request: pytest.FixtureRequest, _fleet_depot: Depot, _fleet_chosen: dict[str, Any]) -> Iterator[Any]:
    """A running `Fleet` of fake vLLM servers in a thread of its own, as good as new: nothing counted, nothing changed.

    Connections that the test leaves open are ended after it. Servers keep their ports for as long as the process has
    use for a fleet of these settings.

    In a test that simkernel simulates it is a fleet in the loop of each run, whose seed is the run's where none is set.
    """
    if is_simulated(request.node):
        yield in_each_run(request.node, _fleet_chosen)
        return
    lent = started(_fleet_depot.take, _fleet_chosen)
    request.node.stash.setdefault(FLEETS, []).append(lent)
    yield lent
    keep_account(request.node, lent)
    _fleet_depot.give_back(_fleet_chosen, lent)
    gate: LeakGate | None = request.config.pluginmanager.get_plugin(GATE)
    if gate is not None and gate.watch is not None:
        # A server that refused for a while, or was restarted, has a new socket on its port.
        gate.watch.accept_listening([server.port if server.path is None else str(server.path) for server in lent])


@pytest.fixture
def fleet_factory(
    request: pytest.FixtureRequest, _fleet_depot: Depot, _fleet_chosen: dict[str, Any]
) -> Iterator[Callable[..., Fleet]]:
    """A function that starts one more fleet: `fleet_factory(size=2, ttft="80ms")`, over the settings of the test.

    Each runs in a thread of its own and is closed after the test, the last one first.
    """
    from fleetsim.testing.depot import start, stop  # noqa: PLC0415 (the depot is here, so the extra is too)

    made: list[Fleet] = []
    if is_simulated(request.node):
        pytest.fail("fleet_factory: a simulated test has no threads; use `async with Fleet(...)` in it", pytrace=False)

    def make(**settings: Any) -> Fleet:
        made.append(started(start, _fleet_chosen | settings))
        request.node.stash.setdefault(FLEETS, []).append(made[-1])
        return made[-1]

    yield make
    for each in made:
        keep_account(request.node, each)
    while made:
        stop(made.pop())


def is_simulated(item: pytest.Item) -> bool:
    """Return whether simkernel's plugin runs the test; it is known by the fixture that has the item's seeds."""
    return "simulated_seeds" in getattr(item, "fixturenames", ())


def in_each_run(item: pytest.Item, settings: dict[str, Any]) -> InEachRun:
    """Return what enters a fleet in every run of a simulated test. Settings that cannot be fail the test now."""
    from fleetsim.testing.in_each_run import InEachRun  # noqa: PLC0415 (needs the extra, and the depot is here)
    from fleetsim.testing.settings import make_fleet  # noqa: PLC0415 (as above)

    started(make_fleet, settings)

    def keep(account: Account) -> None:
        item.stash[ACCOUNTS] = [account]

    item.stash[FLEETS] = []
    return InEachRun(settings, keep)


def started(start: Callable[[dict[str, Any]], Fleet], settings: dict[str, Any]) -> Fleet:
    try:
        return start(settings)
    except ModuleNotFoundError as error:
        skip_for_want_of_the_extra(error)
        raise
    except ValueError as error:
        refusal = str(error)
    pytest.fail(f"fleet settings: {refusal}", pytrace=False)


# What a failed test shows of them.


def keep_account(item: pytest.Item, fleet: Fleet) -> None:
    """Keep what the fleet's ledger says before it is renewed or closed: a later finalizer may fail the test."""
    from fleetsim.testing.journal import account_of  # noqa: PLC0415 (needs the extra)

    item.stash.setdefault(ACCOUNTS, []).append(account_of(fleet))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    wanted = traced(item.config)
    if FLEETS in item.stash and (report.failed or (wanted == "on" and report.when == "call")):
        tell(item, report, wanted)
    return report


def tell(item: pytest.Item, report: pytest.TestReport, wanted: str) -> None:
    """Add the journals of the test's fleets to the report of a failure, and write them to a file where wanted."""
    from fleetsim.testing.journal import account_of, journal_in_words, trace_path, write_trace  # noqa: PLC0415 (see above)

    if report.when == "teardown" or is_simulated(item):
        accounts = item.stash.get(ACCOUNTS, [])
    else:
        accounts = [account_of(fleet) for fleet in item.stash[FLEETS]]
    if report.failed:
        report.sections += [("Fleet journal", journal_in_words(account)) for account in accounts]
    if wanted == "off":
        return
    path = trace_path(trace_folder(item.config), item.nodeid)
    try:
        write_trace(path, item.nodeid, accounts)
        report.sections.append(("Fleet trace", str(path)))
    except OSError as error:
        report.sections.append(("Fleet trace", f"cannot be written: {error}"))


def trace_folder(config: pytest.Config) -> Path:
    given = config.getoption("fleet_trace_dir")
    if given is not None:
        return Path(config.invocation_params.dir, given)
    return Path(config.rootpath, config.getini("fleet_trace_dir"))


# The leak gate.


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if any(is_gated(item) for item in session.items):
        from fleetsim.testing.gate import LeakGate  # noqa: PLC0415 (runs without the gate stay as they are)

        session.config.pluginmanager.register(LeakGate(is_gated), GATE)


def is_gated(item: pytest.Item) -> bool:
    """Return whether the test goes through the gate: its fixtures say so, else its nearest marker, else the run."""
    if "leak_gate" in getattr(item, "fixturenames", ()):
        return True
    marker = item.get_closest_marker("leak_gate")
    if marker is not None:
        return bool(marker.kwargs.get("wanted", marker.args[0] if marker.args else True))
    return bool(item.config.getoption("fleet_leak_gate") or item.config.getini("fleet_leak_gate"))


@pytest.fixture
def leak_gate(request: pytest.FixtureRequest) -> Watch:
    """The test fails if it leaves a socket, an aiohttp session or connector, a pending task or a lost exception behind.

    `leak_gate.accept_what_is_open()` takes what is open at that moment as somebody else's.
    """
    gate: LeakGate | None = request.config.pluginmanager.get_plugin(GATE)
    if gate is None or gate.watch is None:
        pytest.fail("leak_gate: expected among the test's arguments or its fixtures' arguments", pytrace=False)
    return gate.watch
