from __future__ import annotations

import asyncio
import gc
import selectors
import socket
import weakref

import pytest

import simkernel
from simkernel import Net, SimDeadlock, SimEscape, SimLivelock
from simkernel.selector import SimSelector
from simkernel.settings import Settings
from simkernel.tcp import End


def selector_and_end(**settings: float) -> tuple[Net, SimSelector, End, int]:
    net = Net(1, Settings(**settings))  # type: ignore[arg-type]  # of these numbers each is what it should be
    end = End(net)
    return net, SimSelector(net), end, net.descriptors.open(end)


class Ring:
    """Refers to itself, so that only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


def test_only_what_has_stirred_and_is_asked_for_is_ready() -> None:
    _, selector, end, number = selector_and_end()
    key = selector.register(number, selectors.EVENT_READ, "data")
    assert selector.select(0) == []
    end.error = 1
    end.stir()
    assert selector.select(0) == [(key, selectors.EVENT_READ)]
    selector.unregister(number)
    assert selector.select(0) == []


def test_an_end_is_ready_as_long_as_it_is() -> None:
    """As epoll(7) without EPOLLET."""
    _, selector, end, number = selector_and_end()
    selector.register(number, selectors.EVENT_READ)
    end.fail(1)
    assert len(selector.select(0)) == len(selector.select(0)) == 1


def test_time_jumps_to_the_next_entry_and_no_further() -> None:
    net, selector, _, _ = selector_and_end()
    seen: list[str] = []
    for seconds, name in ((2, "late"), (1, "early")):
        net.later(seconds, seen.append, name)
    selector.select(None)
    assert (seen, net.now - net.started) == (["early"], 1)


def test_a_timer_that_is_earlier_comes_first() -> None:
    net, selector, _, _ = selector_and_end()
    net.later(2, lambda _: None, "")
    selector.next_timer = lambda: net.started + 1
    selector.select(2)
    assert net.now == net.started + 1


def test_a_long_run_collects_garbage_now_and_then() -> None:
    """Ten virtual minutes of ten thousand agents kept all connections they ever had."""
    net, selector, _, _ = selector_and_end(max_turns=10_000_000)
    for seconds in (1, 2):
        net.later(seconds, lambda _: None, "")
    gc.disable()  # as in a run
    try:
        gone = weakref.ref(Ring())
        selector.select(None)
        assert gone() is not None
        net.statistics.turns = 1_000_000
        selector.select(None)
        assert gone() is None
    finally:
        gc.enable()


def test_with_nothing_to_come_it_is_a_deadlock() -> None:
    _, selector, _, _ = selector_and_end()
    with pytest.raises(SimDeadlock):
        selector.select(None)


def test_a_real_descriptor_is_an_escape() -> None:
    _, selector, _, _ = selector_and_end()
    with pytest.raises(SimEscape, match="real descriptor 1 "):
        selector.register(1, selectors.EVENT_READ)


def test_a_descriptor_is_registered_once() -> None:
    _, selector, _, number = selector_and_end()
    selector.register(number, selectors.EVENT_READ)
    with pytest.raises(KeyError):
        selector.register(number, selectors.EVENT_READ)


def test_whoever_is_ready_and_does_nothing_about_it_is_a_livelock() -> None:
    """Found by a test that left a writer registered: time stood still, and so did the run, for ever."""

    async def main(net: Net) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 80)
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", 80))
            loop.add_writer(client.fileno(), int)
            try:
                await asyncio.sleep(1)
            finally:
                loop.remove_writer(client.fileno())
                server.close()

    with pytest.raises(SimLivelock, match="turns of the loop and no time passes"):
        simkernel.run(main, max_turns=1000)
