"""The bridge, each time in a process of its own, since locust must not be imported in this one."""

from __future__ import annotations

from pathlib import Path

import pytest
from locust_runs import locust, needs_locust, python

pytestmark = [pytest.mark.slow, needs_locust]

BEGIN = """
import locust
import asyncio, gevent
from gevent import GreenletExit
from loadtests.bridge import Bridge, BridgeClosed

bridge = Bridge()
log = []

async def long():
    log.append("began")
    try:
        await asyncio.sleep(3600)
    finally:
        log.append("ended")

async def add(a, b):
    await asyncio.sleep(0.01)
    return a + b
"""


def run(code: str) -> str:
    ran = python(BEGIN + code)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip()


def test_calls_of_many_greenlets_run_at_once_and_each_gets_its_own_result() -> None:
    code = """
began = bridge.call(asyncio.sleep(0, asyncio))
users = [gevent.spawn(bridge.call, add(n, n)) for n in range(100)]
gevent.joinall(users, raise_error=True)
print([user.value for user in users] == [2 * n for n in range(100)])
bridge.close()
"""
    assert run(code) == "True"


def test_what_a_coroutine_raises_is_raised_in_the_greenlet() -> None:
    code = """
async def wrong():
    raise KeyError("no")
try:
    bridge.call(wrong())
except KeyError as error:
    print("raised", error)
bridge.close()
"""
    assert run(code) == "raised 'no'"


def test_a_greenlet_that_is_killed_cancels_what_it_waits_for() -> None:
    code = """
user = gevent.spawn(bridge.call, long())
while not log:
    gevent.sleep(0.001)
user.kill()
bridge.call(add(0, 0))
print(log)
bridge.close()
"""
    assert run(code) == "['began', 'ended']"


def test_a_greenlet_killed_before_its_coroutine_began_leaves_nothing() -> None:
    code = """
user = gevent.spawn(bridge.call, long())
gevent.sleep(0)
user.kill()
bridge.call(add(0, 0))
print(log in ([], ["began", "ended"]))
bridge.close()
"""
    assert run(code) == "True"


def test_closing_ends_what_still_runs_and_its_caller_is_told() -> None:
    code = """
def call(work):
    try:
        bridge.call(work)
    except BridgeClosed as error:
        print(log, error)
user = gevent.spawn(call, long())
while not log:
    gevent.sleep(0.001)
bridge.close()
bridge.close()
user.get()
call(add(1, 1))
"""
    assert run(code) == "['began', 'ended'] cancelled in the loop\n['began', 'ended'] the bridge is closed"


def test_host_names_are_looked_up_without_stopping_the_loop() -> None:
    code = """
print(bool(bridge.call(asyncio.wait_for(bridge._loop.getaddrinfo("localhost", 80), 30))))
bridge.close()
"""
    assert run(code) == "True"


OWN = """
import contextlib
from locust import events
from loadtests.bridge import PoolUser, use_pool
from loadtests.fleet import child_fleet
from swarmpool import VLLMPool

stack = contextlib.ExitStack()
fleet = stack.enter_context(child_fleet(2))
pools = []

def make(environment):
    pools.append(VLLMPool(fleet.endpoints, model="sim"))
    return pools[-1]

async def ask_one(pool):
    return await pool.post(0, "hello", 4)

class Asker(PoolUser):
    def ask(self):
        self.do("ask", ask_one)
    tasks = [ask]

def told(**_):
    statistics = [pool.statistics() for pool in pools]
    print([(each.state.name, each.connections.open, each.requests.succeeded > 0) for each in statistics])
    stack.close()

use_pool(make)
events.quit.add_listener(told)
"""


def test_a_locustfile_of_ones_own_needs_a_pool_and_a_scenario(tmp_path: Path) -> None:
    locustfile = tmp_path / "own.py"
    locustfile.write_text(OWN)
    ran = locust("-u", "3", "-r", "3", "-t", "2s", locustfile=locustfile)
    assert ran.returncode == 0, ran.stderr
    assert "[('CLOSED', 0, True)]" in ran.stdout
    assert "POOL     ask" in ran.stderr
