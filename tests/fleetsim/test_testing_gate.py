"""The gate holds for users of the plugin: each kind of leak fails the test that made it, and nobody else."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

WORKERS = ["0", pytest.param("2", marks=pytest.mark.slow)]
PLAIN = [part for name in ("randomly", "cacheprovider", "faker", "hypothesispytest") for part in ("-p", f"no:{name}")]
HEAD = """
    import asyncio, contextlib, socket, threading, aiohttp, pytest
    kept = []
"""
# Each body leaves one thing behind; the second item is what the evidence must say.
LEAKS = {
    "socket": ("kept.append(socket.socket())", "open socket: fd "),
    "dropped_socket": ("socket.socket()", "ResourceWarning: unclosed <socket"),
    "pending_task": ("kept.append(asyncio.create_task(asyncio.Event().wait()))", "pending task: <Task pending"),
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
def user(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest("from fleetsim.testing import leaks\n\nleaks.GRACE_SECONDS = 0.2\n")
    return pytester


def run(user: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    user.makepyfile(text)
    return user.runpytest_subprocess(*PLAIN, *arguments)


def leaky_module() -> str:
    tests = [HEAD]
    for name, (body, _) in LEAKS.items():
        tests.append(f"    async def test_clean_before_{name}():\n        await asyncio.sleep(0)\n")
        tests.append(f"    async def test_{name}():\n        {body}\n")
    tests.append("    async def test_clean_at_the_end():\n        await asyncio.sleep(0)\n")
    return "\n".join(tests)


@pytest.mark.parametrize("workers", WORKERS)
def test_each_leak_fails_its_own_test_and_no_other(user: pytest.Pytester, workers: str) -> None:
    result = run(user, leaky_module(), "--fleet-leak-gate", "-n", workers)
    result.assert_outcomes(passed=2 * len(LEAKS) + 1, errors=len(LEAKS))
    text = result.stdout.str()
    for name, (_, evidence) in LEAKS.items():
        section = text.split(f"ERROR at teardown of test_{name} ")[1].split("ERROR at teardown of")[0]
        assert evidence in section, f"{name}: no {evidence!r} in\n{section}"
    assert "ERROR at teardown of test_clean" not in text


def test_without_the_gate_nothing_is_held_against_anybody(user: pytest.Pytester) -> None:
    result = run(user, leaky_module(), "-p", "no:unraisableexception")
    result.assert_outcomes(passed=2 * len(LEAKS) + 1)


def test_the_gate_is_asked_for_by_marker_fixture_or_ini_and_a_marker_can_decline(user: pytest.Pytester) -> None:
    asked = (
        HEAD
        + """
    @pytest.mark.leak_gate
    def test_marker():
        kept.append(socket.socket())

    def test_fixture(leak_gate):
        kept.append(socket.socket())

    @pytest.mark.leak_gate(False)
    def test_declined():
        kept.append(socket.socket())

    def test_not_asked():
        kept.append(socket.socket())
    """
    )
    run(user, asked).assert_outcomes(passed=4, errors=2)
    run(user, asked, "-o", "fleet_leak_gate=true").assert_outcomes(passed=4, errors=3)


def test_a_test_without_the_gate_that_fails_leaves_nothing_for_one_with_it(user: pytest.Pytester) -> None:
    text = (
        HEAD
        + """
    async def test_fails():
        session = aiohttp.ClientSession()
        assert session.closed

    @pytest.mark.leak_gate
    async def test_next():
        await asyncio.sleep(0)
    """
    )
    run(user, text, "-p", "no:unraisableexception").assert_outcomes(passed=1, failed=1)


def test_a_failed_test_is_blamed_itself_for_what_its_traceback_keeps_alive(user: pytest.Pytester) -> None:
    text = (
        HEAD
        + """
    async def test_fails():
        session = aiohttp.ClientSession()
        assert session.closed

    async def test_next():
        await asyncio.sleep(0)
    """
    )
    result = run(user, text, "--fleet-leak-gate")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_fails*", "*Unclosed client session*"])


def test_what_a_test_may_keep_is_not_held_against_it(user: pytest.Pytester) -> None:
    text = (
        HEAD
        + """
    def answered(fleet):
        with socket.create_connection((fleet.endpoints[0].host, fleet.endpoints[0].port)) as client:
            client.sendall(b"GET /health HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
            return client.recv(99)

    def test_the_shared_fleet_is_started(fleet):
        assert answered(fleet)

    @pytest.mark.fleet(size=2)
    async def test_another_is_started(fleet, fleet_factory):
        assert answered(fleet) and answered(fleet_factory(size=1))

    @pytest.fixture(scope="module")
    def listening():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener

    def test_of_the_module(listening):
        assert listening.fileno() > 0

    def test_accepted(leak_gate):
        kept.append(socket.socket())
        leak_gate.accept_what_is_open()

    @pytest.fixture
    async def busy():
        task = asyncio.create_task(asyncio.Event().wait())
        yield task
        task.cancel()

    async def test_what_a_fixture_still_holds_is_closed_by_the_fixture(busy):
        async with aiohttp.ClientSession() as session:
            assert not session.closed and not busy.done()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_in_a_shared_loop():
        await asyncio.sleep(0)
    """
    )
    run(user, text, "--fleet-leak-gate").assert_outcomes(passed=6)


def test_a_task_left_in_a_shared_loop_is_blamed_on_its_test_alone(user: pytest.Pytester) -> None:
    text = (
        HEAD
        + """
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    async def test_before():
        await asyncio.sleep(0)

    async def test_leaves():
        kept.append(asyncio.create_task(asyncio.Event().wait()))

    async def test_after():
        await asyncio.sleep(0)
    """
    )
    result = run(user, text, "--fleet-leak-gate")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaves*", "*pending task: <Task pending*"])


def test_evidence_is_added_to_a_teardown_that_fails_by_itself(user: pytest.Pytester) -> None:
    text = (
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
    result = run(user, text, "--fleet-leak-gate")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: the fixture's own trouble*", "*open socket: fd *"])


def test_the_fixture_asked_for_too_late_says_where_it_belongs(user: pytest.Pytester) -> None:
    result = run(user, "def test_it(request):\n    request.getfixturevalue('leak_gate')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["leak_gate: expected among the test's arguments or its fixtures' arguments"])


def test_a_socket_that_the_shared_fleet_has_opened_anew_is_not_the_tests(user: pytest.Pytester) -> None:
    """A server that refuses for a while gives its port up and takes it again."""
    text = """
        import socket

        kept = []

        def test_refused(fleet, leak_gate):
            with fleet[0].fault("refuse"):
                pass

        def test_leaking(fleet, leak_gate):
            with fleet[0].fault("refuse"):
                kept.append(socket.create_server(("127.0.0.1", 0)))

        def test_refused_again(fleet, leak_gate):
            with fleet[1].fault("refuse"):
                pass
    """
    outcome = run(user, text, "-v")
    outcome.assert_outcomes(passed=3, errors=1)
    outcome.stdout.fnmatch_lines(["*test_leaking left something behind:*", "open socket: fd *"])
