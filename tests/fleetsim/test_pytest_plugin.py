"""The plugin as its users have it: loaded by its entry point into a pytest of its own, with and without workers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HEAD = """
    import asyncio, socket, urllib.request
    import aiohttp, pytest

    def get(url, path="/health"):
        with urllib.request.urlopen(url + path) as response:
            return response.read()
"""
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
# What the inner runs have no use for, and would take time to load.
PLAIN = [part for name in ("randomly", "cacheprovider", "faker", "hypothesispytest") for part in ("-p", f"no:{name}")]
WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])


@pytest.fixture
def user(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of somebody's, with nothing configured but asyncio's mode."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(user: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    user.makepyfile(HEAD + text)
    return user.runpytest_subprocess(*PLAIN, *arguments)


def run_here(user: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    """`run` in this process, which is quicker, for what needs no loop and no fresh process."""
    user.makepyfile(HEAD + text)
    return user.runpytest_inprocess(*PLAIN, *arguments)


def test_a_fleet_serves_plain_tests_and_asyncio_tests_of_any_loop_scope(user: pytest.Pytester) -> None:
    text = """
    async def fetch(fleet):
        assert fleet.ledger.requests == 0
        async with aiohttp.ClientSession() as session, session.get(fleet[1].url + "/health") as response:
            await response.read()
        await fleet.ledger.wait_for(requests=1, open_now=0)

    def test_plain(fleet):
        get(fleet[0].url)
        fleet.ledger.wait_for_sync(requests=1, open_now=0)
        assert (len(fleet), fleet[0].ledger.requests) == (4, 1)

    async def test_function_loop(fleet):
        await fetch(fleet)

    @pytest.mark.asyncio(loop_scope="session")
    async def test_session_loop(fleet):
        await fetch(fleet)

    @pytest.mark.asyncio(loop_scope="module")
    async def test_module_loop(fleet):
        await fetch(fleet)
    """
    run(user, text).assert_outcomes(passed=4)


def test_a_fleet_serves_the_tests_of_anyio(user: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    text = """
    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.anyio
    async def test_anyio(fleet):
        async with aiohttp.ClientSession() as session, session.get(fleet[1].url + "/health") as response:
            await response.read()
        await fleet.ledger.wait_for(requests=1, open_now=0)
    """
    run(user, text, "-p", "no:asyncio").assert_outcomes(passed=1)


def test_a_fleet_serves_tests_on_uvloop(user: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    pytest.importorskip("uvloop")
    text = """
    @pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
    def anyio_backend(request):
        return "asyncio", {"use_uvloop": request.param}

    @pytest.mark.anyio
    async def test_anyio(fleet, anyio_backend):
        loop = type(asyncio.get_running_loop()).__module__
        assert loop.startswith("uvloop") is anyio_backend[1]["use_uvloop"]
        async with aiohttp.ClientSession() as session:
            with fleet.hold() as gate:
                asked = asyncio.create_task(session.get(fleet[1].url + "/health"))
                await gate.wait_for(in_flight=1)
            async with await asked as response:
                await response.read()
        await fleet.ledger.wait_for(requests=1, open_now=0)
    """
    run(user, text, "-p", "no:asyncio").assert_outcomes(passed=2)


def test_every_test_finds_the_same_fleet_as_good_as_new(user: pytest.Pytester) -> None:
    text = """
    ports, kept = set(), []

    @pytest.mark.parametrize("turn", range(3))
    def test_turn(fleet, turn):
        assert fleet.ledger.snapshot().opened == 0 and fleet.ledger.journal() == ()
        assert fleet[0].ending.name == "split" and fleet[0].holds == [] and fleet[1].keepalive_timeout == 5
        ports.add(fleet.urls)
        get(fleet[0].url)
        kept.append(socket.create_connection((fleet.endpoints[2].host, fleet.endpoints[2].port)))
        kept[-1].settimeout(5)
        fleet.ledger.wait_for_sync(opened=2)
        fleet.set_ending("reset")
        fleet[1].keepalive_timeout = None
        fleet[3].hold().__enter__()

    def test_it_was_one_fleet_and_what_was_left_open_is_closed(fleet):
        assert ports == {fleet.urls}
        for client in kept:
            try:
                assert client.recv(1) == b""
            except ConnectionResetError:
                pass
            client.close()
    """
    run_here(user, text).assert_outcomes(passed=4)


def test_a_fleet_that_cannot_be_renewed_is_replaced(user: pytest.Pytester) -> None:
    text = """
    def test_drains(fleet):
        fleet.run(fleet[0].drain())

    def test_next(fleet):
        get(fleet[0].url)
    """
    run_here(user, text).assert_outcomes(passed=2)


def test_markers_add_up_and_the_nearest_goes_first(user: pytest.Pytester) -> None:
    text = """
    pytestmark = pytest.mark.fleet(size=2, ttft="80ms")

    @pytest.mark.fleet(size=3, seed=7)
    class TestGroup:
        @pytest.mark.fleet(seed=8, keepalive_timeout="never", ending="close", tags={"rack": "a"})
        def test_own(self, fleet):
            assert (len(fleet), fleet.seed, fleet.profile.ttft) == (3, 8, 0.08)
            assert (fleet[0].keepalive_timeout, fleet[0].ending.name) == (None, "close")
            assert fleet.endpoints[2].tags == {"rack": "a"}

        def test_of_the_class(self, fleet):
            assert (len(fleet), fleet.seed, fleet.profile.ttft) == (3, 7, 0.08)

    def test_of_the_module(fleet):
        assert (len(fleet), fleet.seed, fleet.profile.ttft) == (2, 0, 0.08)
    """
    run_here(user, text).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("marker", "refusal"),
    [
        ("sized=3", "fleet settings: sized: unknown setting; expected one of answer, api_key, *"),
        ("size=0", "fleet settings: size: expected a whole number of at least 1, got 0"),
        ("ttft='80'", "fleet settings: ttft: expected a duration such as *, got '80'"),
        ("8", "@pytest.mark.fleet takes keywords, such as size=8, got 8"),
    ],
)
def test_a_marker_that_cannot_be_is_refused_in_one_line(user: pytest.Pytester, marker: str, refusal: str) -> None:
    result = run_here(user, f"\n    @pytest.mark.fleet({marker})\n    def test_it(fleet):\n        pass\n", "-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it*", refusal, "*short test summary*"], consecutive=True)


def test_the_command_line_goes_before_markers_those_before_fixtures_and_those_before_the_ini_file(
    user: pytest.Pytester,
) -> None:
    user.makeini(INI + "fleet_size = 2\nfleet_seed = 2\nfleet_ttft = 2ms\nfleet_itl = 2ms\nfleet_ending = close\n")
    user.makeconftest(
        """
        import pytest

        @pytest.fixture
        def fleet_seed():
            return 3

        @pytest.fixture(scope="session")
        def fleet_settings():
            return {"ttft": "3ms", "itl": "3ms"}
        """
    )
    text = """
    @pytest.mark.fleet(itl="4ms", size=4)
    def test_it(fleet, fleet_factory):
        figures = [len(fleet), fleet.seed, fleet.profile.ttft, fleet.profile.itl, fleet[0].ending.name]
        assert figures == [5, 3, 0.003, 0.004, "close"]
        assert fleet_factory(size=6, seed=6).seed == 6
    """
    run_here(user, text, "--fleet-size=5").assert_outcomes(passed=1)


def test_a_profile_is_read_from_the_file_the_ini_names(user: pytest.Pytester) -> None:
    user.makeini(INI + "fleet_profile = slow.yaml\n")
    user.makefile(".yaml", slow="ttft: 9ms\nmodel: slow\nseed: 5\n")
    text = """
    def test_it(fleet):
        assert (fleet.profile.ttft, fleet.profile.model, fleet.seed) == (0.009, "slow", 5)
    """
    run_here(user, text).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("--fleet-size=0",), "*--fleet-size: expected a whole number of at least 1, got '0'"),
        (("--fleet-seed=x",), "*--fleet-seed: expected a whole number or 'random', got 'x'"),
        (("-o", "fleet_itl=80"), "*fleet_itl: expected a duration such as *, got '80'"),
        (("-o", "fleet_trace=yes"), "*fleet_trace: expected one of off, retain-on-failure, on, got 'yes'"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(
    user: pytest.Pytester, arguments: tuple[str, ...], refusal: str
) -> None:
    result = run_here(user, "\n    def test_it(): pass\n", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([refusal])


@WORKERS
def test_a_random_seed_is_named_in_the_header_and_is_every_workers(
    user: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    text = """
    @pytest.mark.parametrize("turn", range(4))
    def test_it(fleet, turn):
        raise AssertionError(f"seed is {fleet.seed}")
    """
    result = run(user, text, "--fleet-seed=random", *workers)
    result.assert_outcomes(failed=4)
    (seed,) = set(re.findall(r"AssertionError: seed is (\d+)", result.stdout.str()))
    result.stdout.fnmatch_lines([f"fleet: size 4, seed {seed} (again: --fleet-seed={seed})"])


def test_the_header_says_how_to_repeat_a_seed_of_the_ini_file(user: pytest.Pytester) -> None:
    result = run_here(user, "\n    def test_it(): pass\n", "-o", "fleet_seed=11")
    result.stdout.fnmatch_lines(["fleet: size 4, seed 11 (again: -o fleet_seed=11)"])


def test_a_factory_starts_fleets_inside_a_running_loop_and_closes_them_after_the_test(user: pytest.Pytester) -> None:
    text = """
    made = []

    @pytest.mark.fleet(ttft="1ms")
    async def test_it(fleet_factory):
        made.extend([fleet_factory(size=1), fleet_factory(size=2, model="other")])
        async with aiohttp.ClientSession() as session, session.get(made[1][0].base_url + "/models") as response:
            assert (await response.json())["data"][0]["id"] == "other"
        assert made[0].profile.ttft == 0.001

    def test_they_are_closed():
        assert [server.state.value for fleet in made for server in fleet] == ["dead"] * 3
    """
    run(user, text).assert_outcomes(passed=2)


FAILING = """
    def test_fails(fleet):
        get(fleet[2].url)
        fleet.ledger.wait_for_sync(requests=1, in_flight=0)  # the fleet's thread may still have to write it down
        fleet.assert_opened(at_most=0)

    @pytest.fixture
    def broken(fleet):
        get(fleet[0].url, "/version")
        fleet.ledger.wait_for_sync(requests=1, in_flight=0)
        raise ValueError("set-up")

    def test_breaks(broken):
        pass

    def test_passes(fleet):
        get(fleet[1].url)
"""


@WORKERS
def test_a_failure_shows_the_journal_of_its_fleet(user: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = run(user, FAILING, *workers)
    result.assert_outcomes(passed=1, failed=1, errors=1)
    sections = re.findall(r"-+ Fleet journal -+\n(.*?)(?=\n[-_=])", result.stdout.str(), re.DOTALL)
    assert len(sections) == 2
    for section, (server, path) in zip(sections, ((0, "/version"), (2, "/health")), strict=True):
        assert section.startswith("4 servers, seed 0: <Ledger of fleet: opened=1, ")
        assert f"server {server}: connection 1 from 127.0.0.1:" in section
        assert f"request 1 (its 1st): GET {path}, status 200, complete after " in section
    assert not Path(user.path, "fleet-traces").exists()


def test_a_failing_finalizer_shows_the_journal_as_it_stood_before_the_fleet_was_renewed(user: pytest.Pytester) -> None:
    text = """
    @pytest.fixture
    def client():
        with socket.socket() as client:
            yield client

    @pytest.fixture
    def connected(client, fleet):
        client.connect((fleet.endpoints[0].host, fleet.endpoints[0].port))
        fleet.ledger.wait_for_sync(opened=1)
        yield
        fleet.assert_all_closed(within="1ms")

    def test_it(connected):
        pass
    """
    result = run_here(user, text)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*Fleet journal*", "4 servers, *", "*server 0: connection 1 *, 0 requests, open, idle"]
    )


def test_a_trace_that_cannot_be_written_is_told_and_breaks_nothing(user: pytest.Pytester) -> None:
    Path(user.path, "taken").touch()
    result = run_here(user, FAILING, "--fleet-trace=retain-on-failure", "--fleet-trace-dir=taken")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*Fleet trace*", "cannot be written: *"])


@WORKERS
def test_a_trace_is_kept_for_each_failure(user: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = run(user, FAILING, "--fleet-trace=retain-on-failure", *workers)
    traces = sorted(Path(user.path, "fleet-traces").iterdir())
    assert [re.sub(r"-[0-9a-f]{8}\.jsonl$", "", trace.name).split("-")[-1] for trace in traces] == [
        "test_breaks",
        "test_fails",
    ]
    result.stdout.fnmatch_lines_random([f"*{trace.name}" for trace in traces])
    fleet, connection, request = (json.loads(line) for line in traces[1].read_text().splitlines())
    assert (fleet["kind"], fleet["size"], fleet["seed"], fleet["opened"]) == ("fleet", 4, 0, 1)
    assert fleet["test"].endswith("::test_fails")
    assert (connection["kind"], connection["server"]) == ("connection", 2)
    assert (request["kind"], request["path"], request["status"]) == ("request", "/health", 200)


def test_every_test_is_traced_where_that_is_wanted(user: pytest.Pytester) -> None:
    run_here(user, FAILING, "-o", "fleet_trace=on", "--fleet-trace-dir=here")
    assert len(list(Path(user.path, "here").iterdir())) == 3


WITHOUT_THE_EXTRA = """
    import sys

    for name in ("click", "faker", "msgspec", "prometheus_client", "rich", "yaml"):
        sys.modules[name] = None  # as good as not installed
"""


def test_without_the_extra_the_fixtures_skip_and_say_what_to_install(user: pytest.Pytester) -> None:
    user.makeconftest(WITHOUT_THE_EXTRA)
    text = """
    def test_fleet(fleet): pass
    def test_factory(fleet_factory): pass
    def test_neither(): pass
    """
    result = run(user, text, "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED *: fleetsim needs msgspec: pip install 'swarmpool?fleet?'"])
    result.stdout.no_fnmatch_line("fleet:*")


def test_a_run_without_fleets_imports_nothing_for_them(user: pytest.Pytester) -> None:
    user.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"aiohttp", "msgspec", "click", "yaml", "rich", "fleetsim.fleet", "fleetsim.testing.leaks"}
            assert "fleetsim.pytest_plugin" in sys.modules
            assert heavy & set(sys.modules) == set()
        """
    )
    user.runpytest_subprocess(*PLAIN).assert_outcomes(passed=1)


def test_the_command_needs_neither_pytest_nor_the_plugin(user: pytest.Pytester) -> None:
    script = (
        "import sys, fleetsim.cli, fleetsim.up, fleetsim.fleet, fleetsim.proofs.command;"
        "print(sorted({'pytest', 'fleetsim.pytest_plugin'} & set(sys.modules)))"
    )
    assert user.run(sys.executable, "-c", script).stdout.lines == ["[]"]
