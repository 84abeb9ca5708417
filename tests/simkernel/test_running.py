"""What a run returns, raises, replaces and puts back."""

from __future__ import annotations

import _thread
import asyncio
import gc
import multiprocessing
import os
import random
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import simkernel
from simkernel import Net


async def talk(net: Net) -> list[bytes]:
    """Two clients, each served twice by a server on a host of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(random.random())
            writer.write(line.upper())
        writer.close()

    async def ask(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("gpu-1", 8000)
        for _ in range(2):
            writer.write(b"hello %d\n" % number)
            answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    async with await asyncio.start_server(serve, net.host("gpu-1").address, 8000):
        answers = await asyncio.gather(*(ask(number) for number in range(2)))
        await asyncio.sleep(1)  # until the server has seen the end
        return answers


def test_a_run_returns_value_trace_digest_statistics_and_what_nobody_handled() -> None:
    result = simkernel.run(talk, seed=7)
    assert result.value == [b"HELLO 0\n", b"HELLO 1\n"]
    assert (result.statistics.connections, result.statistics.open_connections) == (2, 0)
    assert result.statistics.seconds == pytest.approx(result.trace[-1][0])
    assert result.trace[0][1:] == ("listen", "10.0.0.1", 8000)
    assert result.unhandled == []
    assert result.error is None


def test_a_seed_gives_the_same_trace_and_another_seed_another() -> None:
    digests = [simkernel.run(talk, seed=seed).digest for seed in (1, 2, 1)]
    assert digests[0] == digests[2] != digests[1]
    assert simkernel.verify(talk, seed=1).digest == digests[0]


def test_a_difference_is_reported_as_the_first_event_that_differs() -> None:
    runs = iter(range(10))

    async def unlike(net: Net) -> None:
        net.note("alike")
        net.note("run", next(runs))

    with pytest.raises(simkernel.SimDivergence, match="event 1 differs") as caught:
        simkernel.verify(unlike)
    assert "(0.0, 'run', 0) and then (0.0, 'run', 1)" in str(caught.value)
    assert "(0.0, 'alike')" in str(caught.value)


def test_time_passes_only_when_nobody_is_ready() -> None:
    async def wait(net: Net) -> float:
        before = time.monotonic()
        await asyncio.sleep(3600)
        return time.monotonic() - before

    started = time.monotonic()
    assert simkernel.run(wait).value == 3600
    assert time.monotonic() - started < 60


def test_chance_comes_from_the_seed() -> None:
    async def draw(net: Net) -> tuple[str, float, float, bytes]:
        return str(uuid.uuid4()), random.random(), random.Random().random(), random.SystemRandom().randbytes(4)

    assert simkernel.run(draw, seed=1).value == simkernel.run(draw, seed=1).value
    assert simkernel.run(draw, seed=1).value != simkernel.run(draw, seed=2).value


def test_everything_is_put_back() -> None:
    before = (time.time, time.sleep, socket.socket, random.Random.seed, threading.Thread.start, random.getstate())
    simkernel.run(talk)
    after = (time.time, time.sleep, socket.socket, random.Random.seed, threading.Thread.start, random.getstate())
    assert after == before
    threading.Thread(target=int).start()


def test_another_thread_lives_in_the_real_world_meanwhile() -> None:
    told: list[object] = []
    wanted, answered = threading.Event(), threading.Event()

    def outside() -> None:
        wanted.wait()
        with socket.socket() as real:
            told.append((type(real).__name__, time.time() > 1_750_000_000))
        answered.set()

    async def wait(net: Net) -> None:
        wanted.set()
        answered.wait(60)

    other = threading.Thread(target=outside)
    other.start()
    simkernel.run(wait)
    other.join()
    assert told == [("socket", True)]


def test_what_main_raises_is_raised_with_the_seed() -> None:
    async def fail(net: Net) -> None:
        await asyncio.sleep(2)
        raise LookupError("no")

    with pytest.raises(LookupError) as caught:
        simkernel.run(fail, seed=99)
    assert caught.value.__notes__ == ["simkernel: seed 99, after 2 virtual seconds"]
    result = simkernel.attempt(fail, seed=99)
    assert isinstance(result.error, LookupError)


def test_a_deadlock_names_who_waits_and_where() -> None:
    async def stuck(net: Net) -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="the waiter")
        await task

    with pytest.raises(
        simkernel.SimDeadlock, match=r"(?s)2 tasks wait.*stuck.*test_running\.py.*the waiter waits in Event"
    ):
        simkernel.run(stuck)


def test_who_waits_in_asyncio_is_told_with_who_asked() -> None:
    """Twenty tasks that wait for one lock were twenty times the same line of asyncio's."""

    async def ask(lock: asyncio.Lock) -> None:
        await lock.acquire()

    async def stuck(net: Net) -> None:
        lock = asyncio.Lock()
        await asyncio.gather(*(ask(lock) for _ in range(2)))

    with pytest.raises(
        simkernel.SimDeadlock, match=r"waits in Lock\.acquire \(.*locks\.py:\d+\), called by \S+\.ask \(.*test_running"
    ):
        simkernel.run(stuck)


def test_a_loop_that_spins_is_a_livelock() -> None:
    async def spin(net: Net) -> None:
        while True:  # noqa: ASYNC110  # that it spins is the point
            await asyncio.sleep(0)

    with pytest.raises(simkernel.SimLivelock, match="101 turns of the loop and no time passes"):
        simkernel.run(spin, max_turns=100)


def test_a_run_without_an_end_is_a_livelock() -> None:
    async def tick(net: Net) -> None:
        while True:  # noqa: ASYNC110  # that it never ends is the point
            await asyncio.sleep(1)

    with pytest.raises(simkernel.SimLivelock, match="100 virtual seconds and no end"):
        simkernel.run(tick, max_seconds=100)


def test_what_nobody_handled_is_in_the_result() -> None:
    async def careless(net: Net) -> None:
        async def fail() -> None:
            raise LookupError("nobody looks")

        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    (unhandled,) = simkernel.run(careless).unhandled
    assert isinstance(unhandled.exception, LookupError)
    assert "never retrieved" in unhandled.message


def test_what_is_left_is_cancelled() -> None:
    ended = []

    async def leave(net: Net) -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(net.now - net.started)

        net.keep = asyncio.create_task(wait())  # type: ignore[attr-defined]  # somebody must hold it
        await asyncio.sleep(1)

    simkernel.run(leave)
    assert ended == [1]


class Keeper:
    """What holds the network and is held by it, as a listener to what happens there does."""

    def __init__(self, net: Net) -> None:
        self.net = net
        net.later(3600, Keeper.hear, self)

    def hear(self) -> None:
        """An hour has passed."""


def test_a_run_is_gone_when_the_next_one_begins() -> None:
    """Between the runs of a hunt nobody else collects: all of them stayed, and each run's tasks were looked through."""
    keepers: list[weakref.ref[Keeper]] = []

    async def keep(net: Net) -> int:
        keepers.append(weakref.ref(Keeper(net)))
        return sum(each() is not None for each in keepers)

    assert [simkernel.run(keep).value for _ in range(5)] == [1] * 5


async def start_a_thread(net: Net) -> None:
    threading.Thread(target=int, name="runaway").start()


async def start_a_process(net: Net) -> None:
    subprocess.Popen([sys.executable, "-c", ""])  # noqa: ASYNC220  # that it is refused is the point


async def start_a_process_with_asyncio(net: Net) -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "")


async def make_a_datagram_socket(net: Net) -> None:
    socket.socket(type=socket.SOCK_DGRAM)


async def make_a_unix_socket(net: Net) -> None:
    socket.socket(socket.AF_UNIX)


async def make_a_datagram_endpoint(net: Net) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 1))


async def wait_for_a_real_descriptor(net: Net) -> None:
    asyncio.get_running_loop().add_reader(0, int)


async def make_a_pair(net: Net) -> None:
    socket.socketpair()


async def connect_a_blocking_socket(net: Net) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 1))


async def adopt_a_real_descriptor(net: Net) -> None:
    socket.socket(fileno=0)


async def start_a_thread_below_threading(net: Net) -> None:
    _thread.start_new_thread(int, ())


async def start_a_thread_of_a_pool(net: Net) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(int)


async def spawn_a_process(net: Net) -> None:
    multiprocessing.get_context("spawn").Process(target=int).start()


async def become_another_program(net: Net) -> None:
    os.execv("nowhere", ["nowhere"])


async def look_a_name_up_with_its_others(net: Net) -> None:
    socket.gethostbyname_ex("localhost")


async def look_an_address_up(net: Net) -> None:
    socket.getnameinfo(("127.0.0.1", 1), 0)


async def wait_with_a_selector_of_its_own(net: Net) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)


async def wrap_a_socket(net: Net) -> None:
    with socket.socket() as client:
        ssl.create_default_context().wrap_socket(client, server_hostname="a")


async def wait_for_a_thread(net: Net) -> None:
    threading.Event().wait()


async def wait_for_a_result_of_its_own_loop(net: Net) -> None:
    asyncio.run_coroutine_threadsafe(asyncio.sleep(1), asyncio.get_running_loop()).result()


ESCAPES: dict[simkernel.Main[None], str] = {
    start_a_thread_below_threading: r"_thread.start_new_thread\(\)",
    start_a_thread_of_a_pool: r"threading.Thread.start\(\) of 'ThreadPoolExecutor",
    spawn_a_process: r"_posixsubprocess.fork_exec\(\)",
    become_another_program: r"os.execv\(\)",
    look_a_name_up_with_its_others: r"socket.gethostbyname_ex\(\)",
    look_an_address_up: r"socket.getnameinfo\(\)",
    wait_with_a_selector_of_its_own: r"selectors.\w+Selector.register\(\)",
    wrap_a_socket: r"ssl.SSLContext.wrap_socket\(\)",
    wait_for_a_thread: r"threading.Condition.wait\(\)",
    wait_for_a_result_of_its_own_loop: r"threading.Condition.wait\(\)",
    start_a_thread: r"threading.Thread.start\(\) of 'runaway'",
    start_a_process: r"subprocess.Popen\(\)",
    start_a_process_with_asyncio: r"loop.subprocess_exec\(\)",
    make_a_datagram_socket: r"socket.socket\(type=",
    make_a_unix_socket: r"socket.socket\(family=",
    make_a_datagram_endpoint: r"loop.create_datagram_endpoint\(\)",
    wait_for_a_real_descriptor: "the real descriptor 0",
    make_a_pair: r"socket.socketpair\(\)",
    connect_a_blocking_socket: r"socket.connect\(\) of a blocking socket",
    adopt_a_real_descriptor: r"socket.socket\(fileno=0\)",
}


@pytest.mark.parametrize("work", ESCAPES, ids=lambda work: work.__name__)
def test_what_would_leave_the_simulation_says_so(work: simkernel.Main[None]) -> None:
    with pytest.raises(simkernel.SimEscape, match=ESCAPES[work]):
        simkernel.run(work)


def test_an_escape_that_the_program_swallows_is_raised_all_the_same() -> None:
    async def swallow(net: Net) -> str:
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            return "went on"
        return "started"

    with pytest.raises(simkernel.SimEscape):
        simkernel.run(swallow)


async def test_a_run_inside_a_running_loop_is_refused() -> None:
    with pytest.raises(simkernel.SimError, match="inside a running one"):
        simkernel.run(talk)


@pytest.mark.parametrize(
    ("setting", "wrong"), [("latency", -1), ("fragment", 2), ("bandwidth", 0), ("buffer", 0), ("jitter", float("nan"))]
)
def test_a_setting_that_makes_no_sense_is_named(setting: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{setting}={wrong}: expected"):
        simkernel.run(talk, **{setting: wrong})


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_through_and_leaves_nothing_open(raised: type[BaseException]) -> None:
    """The leak gate sees a task or a loop that would be left."""

    async def interrupted(net: Net) -> None:
        net.keep = asyncio.create_task(asyncio.sleep(100))  # type: ignore[attr-defined]  # somebody must hold it
        await asyncio.sleep(1)
        raise raised

    with pytest.raises(raised):
        simkernel.attempt(interrupted)


def test_an_outcome_of_pytest_is_an_error_like_any_other() -> None:
    """They are no `Exception`: `pytest.raises` that meets none, for one."""

    async def fail(net: Net) -> None:
        pytest.fail("no")

    assert isinstance(simkernel.attempt(fail).error, pytest.fail.Exception)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_in_a_run_and_as_it_was_after_it(enabled: bool) -> None:
    gone: list[float] = []

    async def main(net: Net) -> None:
        class Ring:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                gone.append(net.now - net.started)

        assert not gc.isenabled()
        for _ in range(2_000):  # more than any threshold of the collector's
            Ring()
        await asyncio.sleep(1)
        assert gone == []

    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        simkernel.run(main)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert gone == [1.0] * 2_000
