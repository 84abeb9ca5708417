"""The plugin as its users have it: loaded by its entry point into a pytest of its own, with and without workers."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import simkernel.testing.telling  # noqa: F401  # or each inner run would import a kernel of its own

pytest_plugins = ["pytester"]

HEAD = """
    import asyncio, gc, random as chance, warnings
    import pytest, simkernel
    from simkernel.testing import simulated_fixture
"""
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nstrict = true\n"
# What the inner runs have no use for, and would take time to load.
PLAIN = [part for name in ("randomly", "cacheprovider", "faker", "hypothesispytest") for part in ("-p", f"no:{name}")]


@pytest.fixture
def user(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of somebody's, whose async tests are pytest-asyncio's unless they say otherwise."""
    pytester.makeini(INI)
    return pytester


def run(user: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    user.makepyfile(test_it=HEAD + text)
    return user.runpytest_inprocess(*PLAIN, *arguments)


def ids(user: pytest.Pytester, text: str, *arguments: str) -> list[str]:
    lines = run(user, text, "--collect-only", "-q", *arguments).outlines
    return [line.partition("::")[2] for line in lines if "::" in line]


THREE = """
    @pytest.mark.simulated(seeds=120)
    async def test_three(seed):
        pass
"""


def test_a_test_runs_under_each_of_its_seeds_in_a_world_of_its_own(user: pytest.Pytester) -> None:
    text = """
    seen = []

    @pytest.mark.simulated(seeds=range(100, 160), latency=0.25)
    async def test_it(net, seed, random):
        loop = asyncio.get_running_loop()
        assert isinstance(loop, simkernel.SimLoop) and loop.net is net and net.seed == seed
        assert net.settings.latency == 0.25
        await asyncio.sleep(3600)
        seen.append((seed, random.random(), chance.random()))

    def test_after_it():
        assert [seed for seed, *_ in seen] == [100, *range(100, 160)]  # the first one is checked against itself
        assert seen[0] == seen[1] and len(set(seen)) == 60
    """
    run(user, text).assert_outcomes(passed=3)


def test_a_block_of_seeds_is_an_item(user: pytest.Pytester) -> None:
    assert ids(user, THREE) == ["test_three[seeds 0-49]", "test_three[seeds 50-99]", "test_three[seeds 100-119]"]
    assert ids(user, THREE, "--sim-block=120") == ["test_three[seeds 0-119]"]


def test_the_command_line_chooses_the_seeds_of_every_test(user: pytest.Pytester) -> None:
    text = THREE.replace("seeds=120", "seeds=[5, 7, 11]")
    assert ids(user, text) == ["test_three[3 of 5-11]"]
    assert ids(user, text, "--sim-seeds=10:70") == ["test_three[seeds 10-59]", "test_three[seeds 60-69]"]
    assert ids(user, text, "--sim-seed=4711") == ["test_three[seed 4711]"]


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--sim-seeds=9"], "*--sim-seeds: expected seeds from:to, such as 0:20000, got '9'"),
        (["--sim-seeds=9:9"], "*--sim-seeds: expected seeds from:to, such as 0:20000, got '9:9'"),
        (["--sim-seed=x"], "*--sim-seed: expected a whole number of at least 0, got 'x'"),
        (["--sim-block=0"], "*--sim-block: expected a whole number of at least 1, got '0'"),
        (["--sim-tries=-1"], "*--sim-tries: expected a whole number of at least 0, got '-1'"),
        (["--sim-seed=1", "--sim-seeds=0:9"], "*--sim-seed and --sim-seeds: expected one of them"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(user: pytest.Pytester, arguments: list[str], refusal: str) -> None:
    result = run(user, THREE, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([refusal])


@pytest.mark.parametrize(
    ("mark", "refusal"),
    [
        ("seeds=0", "seeds=0: expected how many, or a range or list of whole numbers of at least 0"),
        ("seeds='9'", "seeds='9': expected how many, or a range or list of whole numbers of at least 0"),
        ("9, 10", "expected the seeds, and else keywords, got 10"),
        ("latncy=1", "latncy: unknown setting; expected seeds, plan, simpler or one of latency, *"),
        ("latency=-1", "latency=-1: expected a number of at least 0"),
        ("plan=[1]", "plan=[[]1[]]: expected a function"),
    ],
)
def test_a_mark_that_cannot_be_is_refused_in_one_line(user: pytest.Pytester, mark: str, refusal: str) -> None:
    result = run(user, f"\n    @pytest.mark.simulated({mark})\n    async def test_it(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR collecting*", f"@pytest.mark.simulated: {refusal}"], consecutive=True)


def test_a_plain_function_that_is_marked_is_refused(user: pytest.Pytester) -> None:
    result = run(user, "\n    @pytest.mark.simulated\n    def test_it(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["simulated: expected an async function, got test_it"])


def test_a_test_of_hypothesis_is_told_how_to_have_both(user: pytest.Pytester) -> None:
    """`@given` makes a plain function of it, which draws its own examples."""
    test = "import hypothesis\n    @pytest.mark.simulated\n    @hypothesis.given(hypothesis.strategies.none())"
    result = run(user, f"\n    {test}\n    async def test_it(none): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["simulated: expected an async function, got Hypothesis' test_it; call simkernel.run in it"]
    )


def test_a_plan_must_be_drawn_and_taken(user: pytest.Pytester) -> None:
    text = """
    @pytest.mark.simulated(seeds=1, plan=lambda random: [])
    async def test_not_taken(): pass

    @pytest.mark.simulated(seeds=1)
    async def test_not_drawn(plan): pass
    """
    result = run(user, text)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.simulated: plan: expected an argument `plan` of the test",
            "argument `plan`: expected @pytest.mark.simulated(plan=...) to draw it",
        ]
    )


def test_a_plan_that_cannot_be_drawn_names_its_seed(user: pytest.Pytester) -> None:
    text = """
    def draw(random):
        raise LookupError("no steps")

    @pytest.mark.simulated(seeds=[7], plan=draw)
    async def test_it(plan): pass
    """
    run(user, text).stdout.fnmatch_lines(
        ["E *LookupError: no steps", "E *simkernel: the plan of seed 7 was being drawn"]
    )


PLANNED = """
    def draw(random):
        return [random.randrange(50) for _ in range(random.randrange(20, 60))]

    @pytest.mark.simulated(seeds=range(3, 10), plan=draw)
    async def test_planned(net, plan, seed):
        for step in plan:
            await asyncio.sleep(1)
            net.note("step", step)
        if seed == 8:
            assert not any(step > 40 for step in plan), "too large"
        if 10 < len(plan) < 15:
            raise LookupError("another way to fail")
"""


def test_a_failure_tells_the_seed_its_shrunk_plan_and_the_line_that_runs_it_again(user: pytest.Pytester) -> None:
    result = run(user, PLANNED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*> * assert not any(step > 40 for step in plan), *",
            "E *AssertionError: too large",
            "E *simkernel: seed 8, after 1 virtual seconds",
            "E *again: pytest test_it.py::test_planned --sim-seed 8",
            "*- Simulated seed -*",
            "seed 8 failed, 3 to 7 passed (5 seeds)",
            "again: pytest test_it.py::test_planned --sim-seed 8",
            "*- Plan of 1 step, shrunk from ?? in * runs -*",
            "4?,",
            "*- Simulated trace, last 1 of 1 events -*",
            "1.0 step 4?",
        ]
    )


def test_the_line_that_runs_it_again_does(user: pytest.Pytester) -> None:
    again = run(user, PLANNED, "test_it.py::test_planned", "--sim-seed", "8")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*test_planned?seed 8? *", "*simkernel: seed 8, after 1 virtual seconds"])


def test_shrinking_is_bounded_and_says_so(user: pytest.Pytester) -> None:
    result = run(user, PLANNED, "--sim-tries=1")
    result.stdout.fnmatch_lines(
        ["smaller plans were not looked for after 1 runs (--sim-tries)", "*- Plan of ?? steps*"]
    )


def test_steps_are_made_simpler(user: pytest.Pytester) -> None:
    text = PLANNED.replace("plan=draw", "plan=draw, simpler=lambda step: [step - 1]")
    run(user, text).stdout.fnmatch_lines(["*- Plan of 1 step, *", "41,", "*- Simulated trace*"], consecutive=True)


def test_a_failure_that_does_not_come_again_is_told_and_not_shrunk(user: pytest.Pytester) -> None:
    text = """
    turns = iter(range(100))

    @pytest.mark.simulated(seeds=range(5, 6), plan=lambda random: [1, 2, 3])
    async def test_it(plan):
        assert next(turns)
    """
    run(user, text).stdout.fnmatch_lines(
        ["the same run again did not fail in this way: it is not the seed's alone", "*- Plan of 3 steps, as drawn -*"]
    )


DIFFERENT = """
    turns = iter(range(10_000))

    @pytest.mark.simulated(seeds=120)
    async def test_it(net, seed):
        net.note("alike")
        if seed in (0, 50):
            net.note("turn", next(turns))
"""


@pytest.mark.parametrize(
    ("arguments", "failed"), [([], 1), (["--sim-check=blocks"], 2), (["--sim-check=off"], 0), (["--sim-seed=50"], 1)]
)
def test_the_first_seed_is_run_twice_and_compared(user: pytest.Pytester, arguments: list[str], failed: int) -> None:
    result = run(user, DIFFERENT, *arguments)
    assert result.parseoutcomes().get("failed", 0) == failed
    if failed:
        result.stdout.fnmatch_lines(["*SimDivergence: event 1 differs *(0.0, 'turn', 0) and then (0.0, 'turn', 1)*"])


def test_what_nobody_handled_fails_the_test(user: pytest.Pytester) -> None:
    user.makeini(INI + "filterwarnings = error\n")
    text = """
    @pytest.mark.simulated(seeds=3)
    class TestIt:
        async def test_lost(self, seed):
            async def fail():
                raise KeyError("nobody looks")

            task = asyncio.create_task(fail())
            await asyncio.sleep(1)

        async def test_never_awaited(self):
            asyncio.sleep(1)

        async def test_warned(self):
            warnings.warn("old")

        async def test_in_a_finalizer(self):
            class Bad:
                def __del__(self):
                    raise OSError("too late")

            bad = [Bad()]
            bad.append(bad)  # only the collector finds it

        async def test_pending(self):
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: 1 / 0)
            await asyncio.sleep(1)
    """
    result = run(user, text)
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines(
        [
            "E *SimUnhandled: * exception was never retrieved: KeyError('nobody looks')",
            "seed 0 failed, no seed of this block before it passed",
            "E *SimUnhandled: *coroutine 'sleep' was never awaited*",
            "E *UserWarning: old",
            "E *SimUnhandled: *OSError('too late')",
            "E *SimUnhandled: Exception in callback *ZeroDivisionError*",
        ]
    )


def test_garbage_is_the_seeds_that_made_it(user: pytest.Pytester) -> None:
    """Also where it has outlived a collection of its run's own."""
    text = """
    class Bad:
        def __del__(self):
            raise OSError("too late")

    @pytest.mark.simulated(seeds=3)
    async def test_it(seed):
        if seed == 1:
            bad = [Bad()]
            bad.append(bad)
            gc.collect(0)
    """
    run(user, text).stdout.fnmatch_lines(["E *OSError: too late", "seed 1 failed, 0 passed"])


def test_a_timeout_ends_the_test_at_once(user: pytest.Pytester) -> None:
    text = """
    runs = []

    @pytest.mark.timeout(0.3)
    @pytest.mark.simulated(seeds=3, plan=lambda random: [1, 2])
    async def test_it(plan):
        runs.append(plan)
        while True:
            pass

    def test_after_it():
        assert len(runs) == 1
    """
    result = run(user, text)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E *Timeout (>0.3s) from pytest-timeout."])


def test_what_clears_up_after_the_test_is_not_in_the_events_told(user: pytest.Pytester) -> None:
    text = """
    @simulated_fixture
    async def noisy(net):
        net.note("made")
        yield
        net.note("cleared up")

    @pytest.mark.simulated(seeds=1)
    async def test_it(noisy, net):
        for number in range(40):
            net.note("event", number)
        assert False
    """
    result = run(user, text)
    result.stdout.fnmatch_lines(["*- Simulated trace, last 30 of 41 events -*", "0.0 event 10", "0.0 event 39"])
    result.stdout.no_fnmatch_line("*cleared up*")


def test_marks_add_up_and_the_nearest_goes_first(user: pytest.Pytester) -> None:
    text = """
    pytestmark = pytest.mark.simulated(2, latency=0.5, jitter=0)

    @pytest.mark.simulated(seeds=4, latency=0.25)
    async def test_it(net, seed):
        assert (net.settings.latency, net.settings.jitter) == (0.25, 0)

    async def test_other(net, seed):
        assert (net.settings.latency, net.settings.jitter) == (0.5, 0)
    """
    assert ids(user, text) == ["test_it[seeds 0-3]", "test_other[seeds 0-1]"]
    run(user, text).assert_outcomes(passed=2)


def test_what_a_failed_seed_leaves_is_not_laid_at_the_next_ones_door(user: pytest.Pytester) -> None:
    """Each smaller plan passes, but the traceback of the one before keeps a coroutine that nobody awaits."""
    user.makeini(INI + "filterwarnings = error\n")
    text = """
    @pytest.mark.simulated(seeds=1, plan=lambda random: list(range(6)))
    async def test_it(plan):
        kept = asyncio.sleep(1)
        if len(plan) < 6:
            raise OSError("another")
        raise LookupError
    """
    user.makepyfile(test_it=HEAD + text)
    result = user.runpytest_subprocess(*PLAIN)  # what is told of keeps its coroutine
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *LookupError", "*- Plan of 6 steps, as drawn -*"])
    result.stdout.no_fnmatch_line("*did not fail in this way*")


def test_outcomes_of_pytest_and_ends_of_a_run_are_failures_of_the_seed(user: pytest.Pytester) -> None:
    text = """
    @pytest.mark.simulated(seeds=range(7, 9))
    class TestIt:
        async def test_raises(self):
            with pytest.raises(ValueError):
                pass

        async def test_deadlock(self):
            await asyncio.Event().wait()

        async def test_escape(self):
            import threading
            threading.Thread(target=int).start()
    """
    result = run(user, text)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E *Failed: DID NOT RAISE *ValueError*",
            "seed 7 failed, no seed of this block before it passed",
            "E *SimDeadlock: nothing will ever happen: 1 task waits",
            "E *SimEscape: threading.Thread.start() *",
        ]
    )


def test_a_seed_that_skips_is_passed_over_and_if_all_do_the_item_is_skipped(user: pytest.Pytester) -> None:
    text = """
    @pytest.mark.simulated(seeds=4)
    async def test_some(seed):
        if seed < 3:
            pytest.skip("too small")
        assert seed != 3

    @pytest.mark.simulated(seeds=4)
    async def test_all():
        pytest.skip("not here")
    """
    result = run(user, text, "-rs")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*seed 3 failed, no seed of this block before it passed", "SKIPPED*not here"])


def test_marks_parameters_classes_and_fixtures_are_pytests_own(user: pytest.Pytester) -> None:
    text = """
    @pytest.fixture
    def folder(tmp_path):
        yield tmp_path

    class TestIt:
        pytestmark = pytest.mark.simulated(seeds=60)

        @pytest.mark.parametrize("size", [1, 2])
        @pytest.mark.simulated(seeds=2)
        async def test_sizes(self, size, folder, seed):
            assert isinstance(self, TestIt) and folder.is_dir()
            assert size == 1

        @staticmethod
        async def test_static(seed):
            assert seed < 60

        @pytest.mark.skip(reason="not today")
        async def test_skipped(self):
            assert False

        @pytest.mark.xfail(strict=True)
        async def test_expected(self, seed):
            assert seed % 50

        def test_plain(self, folder):
            pass

    class TestChild(TestIt):
        pass

    async def test_asyncios():
        assert not isinstance(asyncio.get_running_loop(), simkernel.SimLoop)
    """
    result = run(user, text)
    result.assert_outcomes(passed=2 * (1 + 2 + 1) + 1, failed=2, skipped=2 * 2, xfailed=2 * 2)
    result.stdout.fnmatch_lines(["*again: pytest 'test_it.py::TestIt::test_sizes?2-seed 0?' --sim-seed 0"])
    assert ids(user, text, "-k", "sizes and not Child") == [
        "TestIt::test_sizes[1-seeds 0-1]",
        "TestIt::test_sizes[2-seeds 0-1]",
    ]
    again = run(user, text, "test_it.py::TestIt::test_sizes[2-seed 0]", "--sim-seed=0")
    again.assert_outcomes(failed=1)


@pytest.mark.parametrize("fixture", ["@pytest.fixture", "@pytest_asyncio.fixture"])
@pytest.mark.parametrize("end", ["return 1", "yield 1"])
def test_an_async_fixture_of_another_plugins_is_refused_by_name(user: pytest.Pytester, fixture: str, end: str) -> None:
    text = f"""
    import pytest_asyncio

    {fixture}
    async def database():
        {end}

    @pytest.fixture
    def table(database):
        pass

    @pytest.mark.simulated(seeds=1)
    async def test_it(table): pass
    """
    result = run(user, text)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["fixture 'database' is async, * make it with simkernel.testing.simulated_fixture, or within the test"]
    )


def test_fixtures_of_a_simulated_world_are_made_in_each_run(user: pytest.Pytester) -> None:
    user.makeconftest(
        """
        import asyncio
        from simkernel.testing import simulated_fixture

        @simulated_fixture
        async def server(net, tmp_path):
            async def serve(reader, writer):
                writer.write(b"hello")
                writer.close()

            async with await asyncio.start_server(serve, net.host("gpu-1").address, 80):
                yield "gpu-1"
                await asyncio.sleep(1)
        """
    )
    text = """
    made = []

    @simulated_fixture
    async def greeting(server, seed):
        made.append(seed)
        reader, writer = await asyncio.open_connection(server, 80)
        yield await reader.read()
        writer.close()
        await asyncio.sleep(1)

    @simulated_fixture
    async def port(server):
        return 80

    @pytest.mark.simulated(seeds=3)
    async def test_it(greeting, server, port):
        assert (greeting, server, port) == (b"hello", "gpu-1", 80)

    def test_after_it(greeting):
        assert made == [0, 0, 1, 2]
        assert "simulated fixture greeting" in repr(greeting)
    """
    run(user, text).assert_outcomes(passed=2)


def test_blocks_are_shared_by_workers(user: pytest.Pytester) -> None:
    user.makepyfile(test_it=HEAD + THREE.replace("pass", "assert seed != 77"))
    result = user.runpytest_subprocess(*PLAIN, "-n", "2", "--sim-block=20", "-v")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["seed 77 failed, 60 to 76 passed (17 seeds)"])
    assert set(re.findall(r"\[(gw\d)\]", str(result.stdout))) == {"gw0", "gw1"}


def test_neither_asyncios_plugin_nor_anyios_touches_it(user: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    user.makeini(INI + "filterwarnings = error\n")
    text = """
    pytestmark = [pytest.mark.anyio, pytest.mark.asyncio]

    @pytest.mark.anyio
    @pytest.mark.asyncio
    @pytest.mark.simulated(seeds=2)
    async def test_it():
        assert isinstance(asyncio.get_running_loop(), simkernel.SimLoop)
    """
    assert ids(user, text) == ["test_it[seeds 0-1]"]
    for arguments in ([], ["-o", "asyncio_mode=strict"], ["-o", "anyio_mode=auto", "-o", "asyncio_mode=strict"]):
        run(user, text, *arguments).assert_outcomes(passed=1)


def test_other_tests_do_without_the_kernel(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "simkernel.pytest_plugin" in sys.modules
            assert not {"simkernel.kernel", "simkernel.running", "simkernel.settings", "asyncio"} & set(sys.modules)
        """
    )
    arguments = [part for name in ("asyncio", "anyio", "xdist") for part in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*PLAIN, *arguments).assert_outcomes(passed=1)


def test_without_pytest_the_package_works() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; import simkernel; [getattr(simkernel, n) for n in simkernel.__all__]"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
