"""The leak gate holds: each kind of leak fails the test that made it, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SUPPORT = Path(__file__).parent / "support"
HEAD = """
    import asyncio, contextlib, socket, threading, aiohttp, pytest
    kept = []
"""
# Each body leaves one thing behind; the second item is what the evidence must say.
LEAKS = {
    "socket": ("kept.append(socket.socket())", "open socket: fd "),
    "dropped_socket": ("socket.socket()", "ResourceWarning: unclosed <socket"),
    "thread": ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "running thread: <Thread"),
    "pending_task": ("kept.append(asyncio.create_task(asyncio.Event().wait()))", "pending task: <Task pending"),
    "timer": ("asyncio.get_running_loop().call_later(600, print)", "armed timer: <TimerHandle"),
    "held_session": ("kept.append(aiohttp.ClientSession())", "not closed: <aiohttp.client.ClientSession"),
    "held_connector": ("kept.append(aiohttp.TCPConnector())", "not closed: <aiohttp.connector.TCPConnector"),
    "dropped_session": ("aiohttp.ClientSession()", "asyncio logged: Unclosed client session"),
    "never_awaited": ("asyncio.sleep(1)", "coroutine 'sleep' was never awaited"),
    "lost_exception": (
        "asyncio.get_running_loop().create_future().set_exception(ValueError('lost'))",
        "asyncio logged: Future exception was never retrieved",
    ),
    "destroyed_task": (
        "loop = asyncio.new_event_loop(); loop.create_task(asyncio.Event().wait()); loop.close()",
        "asyncio logged: Task was destroyed but it is pending!",
    ),
    "raising_finalizer": ("type('Bad', (), {'__del__': lambda self: 1 / 0})()", "unraisable: Exception ignored"),
    "open_transport": (
        "kept.append(await asyncio.start_server(print, '127.0.0.1', 0))",
        "open socket: fd ",
    ),
}


@pytest.fixture
def gated(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(
        f"""
        [pytest]
        pythonpath = {SUPPORT}
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
        markers = leaks: leaks on purpose
        """
    )
    pytester.makeconftest(
        """
        from leak_gate import LeakGate
        import leak_gate

        leak_gate.GRACE_SECONDS = 0.2

        def pytest_configure(config):
            config.pluginmanager.register(LeakGate(), "leak-gate")
        """
    )
    return pytester


def leaky_module(mark: str = "") -> str:
    tests = [HEAD]
    for name, (body, _) in LEAKS.items():
        tests.append(f"    async def test_clean_before_{name}():\n        await asyncio.sleep(0)\n")
        tests.append(f"    {mark}\n    async def test_{name}():\n        {body}\n")
    tests.append("    async def test_clean_at_the_end():\n        await asyncio.sleep(0)\n")
    return "\n".join(tests)


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_each_leak_fails_its_own_test_and_no_other(gated: pytest.Pytester, workers: str) -> None:
    gated.makepyfile(leaky_module())
    result = gated.runpytest_subprocess("-p", "no:randomly", "-n", workers)
    result.assert_outcomes(passed=2 * len(LEAKS) + 1, errors=len(LEAKS))
    text = result.stdout.str()
    for name, (_, evidence) in LEAKS.items():
        section = text.split(f"ERROR at teardown of test_{name} ")[1].split("ERROR at teardown of")[0]
        assert evidence in section, f"{name}: no {evidence!r} in\n{section}"
    assert "ERROR at teardown of test_clean" not in text


def test_a_test_marked_leaks_is_let_through_and_its_neighbours_stay_clean(gated: pytest.Pytester) -> None:
    gated.makepyfile(leaky_module(mark="@pytest.mark.leaks"))
    gated.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2 * len(LEAKS) + 1)


def test_clean_tests_pass_whatever_they_opened(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        HEAD
        + """
    async def test_session():
        async with aiohttp.ClientSession() as session:
            assert not session.closed

    async def test_task_and_timer():
        task = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_later(600, print).cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    @pytest.fixture
    async def busy():
        task = asyncio.create_task(asyncio.Event().wait())
        yield task
        task.cancel()

    async def test_what_a_fixture_still_holds_is_closed_by_the_fixture(busy):
        assert not busy.done()

    async def test_a_generator_left_early_is_closed_in_time():
        async def numbers():
            try:
                for number in range(9):
                    yield number
            finally:
                await asyncio.sleep(0)
        async for number in numbers():
            break

    async def test_dns_threads_end_with_the_loop():
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    def test_threads_and_sockets():
        thread = threading.Thread(target=socket.socket().close)
        thread.start()
        thread.join()
    """
    )
    gated.runpytest_subprocess().assert_outcomes(passed=6)


def test_what_a_longer_lived_fixture_opens_is_not_held_against_a_test(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        HEAD
        + """
    @pytest.fixture(scope="module")
    def listening():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait)
            thread.start()
            yield listener
            stop.set()
            thread.join()

    def test_first(listening):
        assert listening.fileno() > 0

    async def test_second(listening):
        assert listening.fileno() > 0
    """
    )
    gated.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_failed_test_is_blamed_itself_for_what_its_traceback_keeps_alive(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        HEAD
        + """
    async def test_fails():
        session = aiohttp.ClientSession()
        assert session.closed

    async def test_next():
        await asyncio.sleep(0)
    """
    )
    result = gated.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_fails*", "*Unclosed client session*"])


def test_evidence_is_added_to_a_teardown_that_fails_by_itself(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        HEAD
        + """
    @pytest.fixture
    def failing():
        yield
        raise ValueError("the fixture's own trouble")

    def test_both(failing):
        kept.append(socket.socket())
    """
    )
    result = gated.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: the fixture's own trouble*", "*open socket: fd *"])
