"""A pool that is dropped while open says so once, in its own name, leaves no socket, and aiohttp stays silent."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme
from leak_gate import open_sockets
from raw_agent import RawAgent, RawConnection, chunk, eventually, sse_head

from swarmpool import AgentPool, VLLMPool


@contextmanager
def warned() -> Iterator[list[str]]:
    """The ResourceWarnings of the block as text: a kept warning keeps its source alive and would hide the next one."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ResourceWarning)
        warnings.showwarning = lambda message, *_, **__: texts.append(str(message))
        yield texts
        gc.collect()


def our_one_warning(texts: list[str], pool: str = "AgentPool(1 agents, first http") -> None:
    assert len(texts) == 1, texts
    assert texts[0].startswith(f"Unclosed pool {pool}"), texts


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def test_the_last_reference_is_enough_without_waiting_for_a_collection(without_collector: None) -> None:
    """A root that referred to itself was noticed only when the collector came by."""
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        await pool.post(0, "hi")
        with warned() as texts:
            del pool
            our_one_warning(texts)
        await eventually(lambda: agent.open_now == 0)
        our_one_warning(texts)


async def test_a_view_keeps_its_tree_alive() -> None:
    async with RawAgent() as agent:
        pool = VLLMPool([agent.endpoint])
        await pool.__aenter__()
        view = pool.slice(0, 1)
        with warned() as texts:
            del pool
            gc.collect()
            assert texts == []
            del view
        our_one_warning(texts, "VLLMPool(1 agents, first http")


async def test_a_pool_in_a_reference_cycle_is_found_by_the_collector() -> None:
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        await pool.post(0, "hi")
        pool.__dict__["me"] = pool
        with warned() as texts:
            del pool
            assert texts == []
        our_one_warning(texts)
        await eventually(lambda: agent.open_now == 0)


async def test_a_pool_dropped_with_a_stream_half_read_ends_that_too() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(sse_head(), chunk('{"text":"a"}'))

    async with RawAgent(respond) as agent:
        pool = AgentPool([agent.endpoint])
        stream = pool.stream(0, "hi")
        assert (await anext(stream)).text == "a"
        with warned() as texts:
            del pool, stream
        our_one_warning(texts)
        await eventually(lambda: agent.open_now == 0)


async def test_the_collector_of_another_thread_may_find_it() -> None:
    """Transports belong to their loop's thread: nothing may be ended from another one."""
    async with RawAgent() as agent:
        pool = AgentPool([agent.endpoint])
        await pool.post(0, "hi")
        holder = [pool]
        with warned() as texts:
            del pool
            thread = threading.Thread(target=holder.clear)
            thread.start()
            await asyncio.to_thread(thread.join)
            await eventually(lambda: agent.open_now == 0)
        our_one_warning(texts)


@contextmanager
def served_elsewhere(respond: Callable[[RawConnection], None] | None = None, **how: Any) -> Iterator[RawAgent]:
    """An agent in a loop of its own thread, for a pool whose loop stops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    agent = RawAgent(**how) if respond is None else RawAgent(respond, **how)
    try:
        asyncio.run_coroutine_threadsafe(agent.__aenter__(), loop).result()
        yield agent
        asyncio.run_coroutine_threadsafe(agent.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def used(pool: AgentPool) -> None:
    assert (await pool.post(0, "hi")).success


@pytest.fixture(params=["plain", "tls"])
def trust(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Contexts for both ends, or none."""
    if request.param == "plain":
        return None, None
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Trust = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


def test_a_pool_dropped_after_its_loop_has_closed(trust: Trust) -> None:
    with served_elsewhere(ssl=trust[0]) as agent:
        pool = AgentPool([agent.endpoint], ssl=trust[1])
        asyncio.run(used(pool))
        before = len(open_sockets())
        with warned() as texts:
            del pool
        our_one_warning(texts)
        assert len(open_sockets()) <= before - 1


def test_a_pool_dropped_while_its_loop_is_stopped(trust: Trust) -> None:
    """Nothing that the loop would have to do may be left to it: it may never run again."""
    with served_elsewhere(ssl=trust[0]) as agent:
        loop = asyncio.new_event_loop()
        pool = AgentPool([agent.endpoint], ssl=trust[1])
        loop.run_until_complete(used(pool))
        before = len(open_sockets())
        with warned() as texts:
            del pool
            our_one_warning(texts)
            assert len(open_sockets()) <= before - 1
            loop.close()
        our_one_warning(texts)


def test_a_loop_that_goes_on_after_a_drop_is_undisturbed() -> None:
    """The socket's number may be given to another: the stopped loop must have forgotten it."""
    with served_elsewhere() as agent, asyncio.Runner() as runner:
        pool = AgentPool([agent.endpoint])
        runner.run(used(pool))
        with warned() as texts:
            del pool
        our_one_warning(texts)
        other = AgentPool([agent.endpoint])
        runner.run(used(other))
        runner.run(other.close())


def test_a_half_read_stream_that_outlives_its_loop_adds_no_warning(trust: Trust) -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(sse_head(), chunk('{"text":"a"}'))

    async def begin(pool: AgentPool) -> object:
        stream = pool.stream(0, "hi")
        assert (await anext(stream)).text == "a"
        return stream

    with served_elsewhere(respond, ssl=trust[0]) as agent:
        pool = AgentPool([agent.endpoint], ssl=trust[1])
        stream = asyncio.run(begin(pool))
        with warned() as texts:
            del stream
            del pool
        our_one_warning(texts)


def test_a_socket_that_was_on_its_way_out_when_the_loop_closed_adds_no_warning() -> None:
    with served_elsewhere() as agent:
        loop = asyncio.new_event_loop()
        pool = AgentPool([agent.endpoint])
        loop.run_until_complete(used(pool))
        loop.call_soon(pool._tree._connector.sockets.end_idle)  # type: ignore[union-attr]  # it is open
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        with warned() as texts:
            del pool
        our_one_warning(texts)


SCRIPT = """
import asyncio, gc, sys
from swarmpool import AgentPool

async def main(port):
    pool = AgentPool([("127.0.0.1", port)])
    assert (await pool.post(0, "hi")).success
    if {keep}:
        globals()["kept"] = pool
    else:
        del pool
        gc.collect()
        await asyncio.sleep(0.01)

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept to the interpreter's end"])
async def test_under_w_error_it_is_said_once_and_breaks_nothing(keep: bool) -> None:
    """A warning that is an error is raised where nobody can catch it: the sockets must have been ended before."""
    async with RawAgent() as agent:
        command = [sys.executable, "-W", "error", "-c", SCRIPT.format(keep=keep), str(agent.port)]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        await eventually(lambda: agent.open_now == 0)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("Unclosed") == 1, ended.stderr
    assert "ResourceWarning: Unclosed pool AgentPool(1 agents" in ended.stderr
