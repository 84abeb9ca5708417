"""Real time, chance and the machine stay out, also where a module has a copy of the function."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import types
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import simkernel
from simkernel import Net


@pytest.fixture
def module() -> Any:
    """A module that did `from time import monotonic, sleep` and `from os import urandom` when it was imported."""
    made = types.ModuleType("simkernel_test_copies")
    exec("from time import monotonic, sleep\nfrom os import urandom", vars(made))
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.parametrize("again", range(2))
def test_copies_are_replaced_and_put_back(module: Any, again: int) -> None:
    """Twice, for the second module has the first one's name and leaves the number of modules as it was."""
    before = dict(vars(module))

    async def main(net: Net) -> tuple[float, bytes]:
        started = module.monotonic()
        assert module.sleep is time.sleep
        module.sleep(3600)
        return module.monotonic() - started, module.urandom(8)

    first, second = simkernel.run(main).value, simkernel.run(main).value
    assert first == second
    assert first is not None
    assert first[0] == 3600
    assert {name: vars(module)[name] for name in before} == before


def test_a_clock_copied_during_a_run_is_the_real_one_after_it() -> None:
    async def main(net: Net) -> Any:
        from time import monotonic

        assert monotonic() == net.now
        return monotonic

    clock = simkernel.run(main).value
    assert clock is not None
    assert abs(clock() - time.monotonic()) < 60


def test_the_calendar_is_the_runs_and_a_given_moment_stays() -> None:
    async def main(net: Net) -> tuple[Any, ...]:
        await asyncio.sleep(86_400 - net.now)
        assert time.strftime("%Y", time.localtime(0)) in ("1969", "1970")
        assert time.gmtime(0)[0] == 1970
        calendar = (time.localtime(), time.ctime(), time.asctime(), time.strftime("%c"))
        return time.gmtime(None)[:3], calendar, time.clock_gettime(time.CLOCK_MONOTONIC)

    first, second = simkernel.run(main).value, simkernel.run(main).value
    assert first == second
    assert first is not None
    assert first[::2] == ((2023, 11, 15), 86_400)


def test_the_kernels_entropy_comes_from_the_seed() -> None:
    async def main(net: Net) -> bytes:
        return os.getrandom(16) + os.urandom(16)

    assert simkernel.run(main, 1).value == simkernel.run(main, 1).value != simkernel.run(main, 2).value


def test_aiohttp_lets_idle_connections_expire_in_virtual_time() -> None:
    """Its connector has a copy of `time.monotonic`: on the real clock no idle connection would ever grow old."""

    async def main(net: Net) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response()

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, keepalive_timeout=1000)
        await runner.setup()
        await web.TCPSite(runner, net.host("a").address, 80).start()
        async with aiohttp.ClientSession() as session:
            for pause in (5, 18, 18):  # aiohttp keeps them for 15 seconds
                async with session.get("http://a/") as response:
                    await response.read()
                await asyncio.sleep(pause)
        await runner.cleanup()

    assert simkernel.verify(main).statistics.connections == 2


def test_the_mask_of_a_websocket_comes_from_the_seed() -> None:
    async def main(net: Net) -> None:
        async def answer(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(await socket.receive_str())
            await socket.close()
            return socket

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, net.host("a").address, 80).start()
        async with aiohttp.ClientSession() as session, session.ws_connect("http://a/") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            await socket.receive()
        await runner.cleanup()
        await asyncio.sleep(1)

    simkernel.verify(main)  # the masked bytes are in the trace


def test_a_second_loop_is_an_escape_before_half_of_it_is_made() -> None:
    """One that was refused its socket pair said so in a warning, and failed once more as it was thrown away."""

    async def main(net: Net) -> None:
        asyncio.new_event_loop()

    with pytest.raises(simkernel.SimEscape, match=r"asyncio\.new_event_loop\(\)"):
        simkernel.run(main)
