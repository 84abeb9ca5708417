from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from fake_socket import FakeSocket
from virtual_time import VirtualTimeLoop, run

from swarmpool.sockets import Endable, Sockets, SocketState, SocketStatistics

DIALING, ACQUIRED, IDLE, CLOSING, CLOSED = SocketState


async def make(limit: int = 2, keepalive_timeout: float | None = None) -> Sockets:
    return Sockets(limit=limit, keepalive_timeout=keepalive_timeout, loop=asyncio.get_running_loop())


async def connect(sockets: Sockets, socket: FakeSocket | None = None) -> FakeSocket:
    socket = socket or FakeSocket()
    await sockets.reserve()
    sockets.connected(socket)
    return socket


async def dialling(sockets: Sockets) -> asyncio.Task[None]:
    task = asyncio.create_task(sockets.reserve())
    await asyncio.sleep(0)
    return task


def gauges(sockets: Sockets) -> tuple[int, int, int, int, int]:
    now = sockets.statistics()
    return now.open, now.dialing, now.acquired, now.idle, now.closing


# ------------------------------------------------------------------------------------------------ one socket's life


async def test_a_socket_counts_from_the_attempt_to_its_connection_lost() -> None:
    sockets, socket = await make(), FakeSocket()
    seen = [gauges(sockets)]
    await sockets.reserve()
    seen.append(gauges(sockets))
    for step in (sockets.connected, sockets.rest, sockets.reuse, sockets.end, sockets.lost):
        step(socket)
        seen.append(gauges(sockets))
    assert seen == [
        (0, 0, 0, 0, 0),
        (1, 1, 0, 0, 0),
        (1, 0, 1, 0, 0),
        (1, 0, 0, 1, 0),
        (1, 0, 1, 0, 0),
        (1, 0, 0, 0, 1),
        (0, 0, 0, 0, 0),
    ]
    now = sockets.statistics()
    assert (now.opened, now.closed, now.reused, now.failed, now.peak_open, socket.ended) == (1, 1, 1, 0, 1, 1)


# What each call does to a socket in each state; a call that is not here is illegal in that state.
CALLS: dict[str, Callable[[Sockets], Callable[[Endable], None]]] = {
    "connect": lambda sockets: sockets.connected,
    "rest": lambda sockets: sockets.rest,
    "reuse": lambda sockets: sockets.reuse,
    "end": lambda sockets: sockets.end,
    "lose": lambda sockets: sockets.lost,
}
LEGAL = {
    ("connect", DIALING): ACQUIRED,
    ("rest", ACQUIRED): IDLE,
    ("reuse", IDLE): ACQUIRED,
    ("end", ACQUIRED): CLOSING,
    ("end", IDLE): CLOSING,
    ("end", CLOSING): CLOSING,
    ("end", CLOSED): CLOSED,
    ("lose", ACQUIRED): CLOSED,
    ("lose", IDLE): CLOSED,
    ("lose", CLOSING): CLOSED,
}


async def brought_to(sockets: Sockets, state: SocketState) -> FakeSocket:
    await sockets.reserve()
    socket = FakeSocket()
    path = {
        DIALING: (),
        ACQUIRED: ("connect",),
        IDLE: ("connect", "rest"),
        CLOSING: ("connect", "end"),
        CLOSED: ("connect", "lose"),
    }[state]
    for call in path:
        CALLS[call](sockets)(socket)
    assert socket.state is state
    return socket


@pytest.mark.parametrize("state", SocketState)
@pytest.mark.parametrize("call", CALLS)
async def test_a_legal_move_is_made_and_an_illegal_one_raises_and_changes_nothing(
    call: str, state: SocketState
) -> None:
    sockets = await make()
    socket = await brought_to(sockets, state)
    await sockets.reserve()  # a right to dial, lest it be its lack that is refused
    before = sockets.statistics()
    if (call, state) in LEGAL:
        CALLS[call](sockets)(socket)
        assert socket.state is LEGAL[call, state]
        return
    with pytest.raises(RuntimeError, match=rf"^cannot {call} a socket that is {state.name}$"):
        CALLS[call](sockets)(socket)
    assert (socket.state, sockets.statistics()) == (state, before)


async def test_a_dial_that_nobody_reserved_can_neither_connect_nor_fail() -> None:
    """It would make the count of dials negative, and the limit would hold for one socket more than it says."""
    sockets = await make()
    before = sockets.statistics()
    socket = FakeSocket()
    with pytest.raises(RuntimeError, match=r"^no dial is under way$"):
        sockets.connected(socket)
    with pytest.raises(RuntimeError, match=r"^no dial is under way$"):
        sockets.dial_failed()
    assert (socket.state, sockets.statistics()) == (DIALING, before)


async def test_ending_twice_aborts_the_transport_once() -> None:
    sockets = await make()
    socket = await connect(sockets)
    sockets.end(socket)
    sockets.end(socket)
    assert socket.ended == 1


async def test_a_failed_dial_is_counted_apart_from_closed_sockets() -> None:
    sockets = await make()
    await sockets.reserve()
    sockets.dial_failed()
    now = sockets.statistics()
    assert (now.open, now.opened, now.closed, now.failed) == (0, 0, 0, 1)


async def test_an_idle_socket_that_the_server_closes_is_counted_as_such() -> None:
    sockets = await make()
    idle, acquired = await connect(sockets), await connect(sockets)
    sockets.rest(idle)
    sockets.lost(idle)
    sockets.lost(acquired)
    now = sockets.statistics()
    assert (now.lost_idle, now.closed, now.idle) == (1, 2, 0)


async def test_an_idle_socket_on_which_the_server_spoke_is_ended_and_counted() -> None:
    sockets = await make()
    socket = await connect(sockets)
    sockets.rest(socket)
    sockets.reject(socket)
    now = sockets.statistics()
    assert (socket.state, now.poisoned, now.idle, now.closing) == (CLOSING, 1, 0, 1)


# ------------------------------------------------------------------------------------------------ the limit


async def test_at_the_limit_a_dial_waits_for_a_connection_lost_and_not_for_the_decision() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    task = await dialling(sockets)
    sockets.end(socket)
    await asyncio.sleep(0)
    assert not task.done()
    sockets.lost(socket)
    await task
    assert gauges(sockets) == (1, 1, 0, 0, 0)
    assert sockets.statistics().peak_open == 1


async def test_the_longest_idle_socket_makes_room() -> None:
    sockets = await make(limit=3)
    one, two, three = [await connect(sockets) for _ in range(3)]
    for socket in (two, three, one):
        sockets.rest(socket)
    task = await dialling(sockets)
    assert [socket.state for socket in (one, two, three)] == [IDLE, CLOSING, IDLE]
    sockets.lost(two)
    await task
    assert sockets.statistics().evicted == 1


async def test_as_many_make_room_as_there_are_dials_in_line() -> None:
    sockets = await make(limit=3)
    fakes = [await connect(sockets) for _ in range(3)]
    for socket in fakes:
        sockets.rest(socket)
    tasks = [await dialling(sockets) for _ in range(2)]
    assert [socket.state for socket in fakes] == [CLOSING, CLOSING, IDLE]
    for socket in fakes[:2]:
        sockets.lost(socket)
    await asyncio.gather(*tasks)


async def test_a_socket_already_on_its_way_out_spares_an_idle_one() -> None:
    sockets = await make(limit=2)
    leaving, idle = await connect(sockets), await connect(sockets)
    sockets.rest(idle)
    sockets.end(leaving)
    task = await dialling(sockets)
    assert idle.state is IDLE
    sockets.lost(leaving)
    await task


async def test_a_socket_that_comes_to_rest_makes_room_for_a_dial_in_line() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    task = await dialling(sockets)
    sockets.rest(socket)
    assert socket.state is CLOSING
    sockets.lost(socket)
    await task


async def test_the_right_to_dial_is_given_in_order_of_arrival() -> None:
    sockets, order = await make(limit=1), list[int]()
    socket = await connect(sockets)

    async def dial(number: int) -> None:
        await sockets.reserve()
        order.append(number)
        sockets.dial_failed()

    tasks = [asyncio.create_task(dial(number)) for number in range(5)]
    await asyncio.sleep(0)
    sockets.lost(socket)
    await asyncio.gather(*tasks)
    assert order == list(range(5))


async def test_a_newcomer_does_not_overtake_a_dial_in_line() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    first = await dialling(sockets)
    sockets.lost(socket)  # the right is handed over; `first` has not run yet
    second = asyncio.create_task(sockets.reserve())
    await first
    assert not second.done()
    sockets.dial_failed()
    await second


async def test_a_right_given_in_the_tick_of_the_cancellation_goes_to_the_next() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    first, second = await dialling(sockets), await dialling(sockets)
    sockets.lost(socket)
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert gauges(sockets) == (1, 1, 0, 0, 0)
    assert sockets.statistics().failed == 0


async def test_a_dial_cancelled_just_before_its_turn_is_passed_over() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    first, second = await dialling(sockets), await dialling(sockets)
    first.cancel()
    sockets.lost(socket)
    await asyncio.wait([first, second])
    assert gauges(sockets) == (1, 1, 0, 0, 0)


async def test_a_waiting_dial_that_is_closed_leaves_the_line() -> None:
    sockets = await make(limit=1)
    socket = await connect(sockets)
    forgotten = sockets.reserve()
    forgotten.send(None)
    forgotten.close()
    sockets.lost(socket)
    assert gauges(sockets) == (0, 0, 0, 0, 0)


async def test_nothing_is_lost_whenever_a_dial_is_cancelled() -> None:
    sockets = await make(limit=1)

    async def victim() -> None:
        await sockets.reserve()
        sockets.dial_failed()

    async def lose_later(socket: FakeSocket) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        sockets.lost(socket)

    @asynccontextmanager
    async def scene() -> AsyncIterator[Coroutine[Any, Any, object]]:
        others = [asyncio.create_task(lose_later(await connect(sockets)))]

        async def be_the_first_in_line() -> None:
            others.append(asyncio.create_task(victim()))
            await victim()

        yield be_the_first_in_line()
        await asyncio.gather(*others)
        assert gauges(sockets) == (0, 0, 0, 0, 0)

    assert await cancel_at_every_step(scene) > 3


# ------------------------------------------------------------------------------------------------ age


def test_each_idle_socket_is_ended_on_time() -> None:
    """aiohttp's cleaner comes up to twice as late."""

    async def scene() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        sockets, ended = await make(limit=9, keepalive_timeout=4.0), list[float]()

        class Clocked(FakeSocket):
            def end(self) -> None:
                super().end()
                ended.append(round(loop.time() - began, 3))

        began = loop.time()
        fakes = [await connect(sockets, Clocked(sockets)) for _ in range(4)]
        for socket in fakes:
            sockets.rest(socket)
            assert loop.armed_timers() == 1
            await asyncio.sleep(1.5)
        await asyncio.sleep(20)
        assert (sockets.open, sockets.statistics().expired, loop.armed_timers()) == (0, 4, 0)
        return ended

    assert run(scene) == [4.0, 5.5, 7.0, 8.5]


def test_reuse_starts_the_clock_anew() -> None:
    async def scene() -> None:
        sockets = await make(keepalive_timeout=4.0)
        socket = await connect(sockets, FakeSocket(sockets))
        for _ in range(3):
            sockets.rest(socket)
            await asyncio.sleep(3)
            sockets.reuse(socket)
        assert socket.state is ACQUIRED
        sockets.rest(socket)
        await asyncio.sleep(3.9)
        assert socket.state is IDLE
        await asyncio.sleep(0.2)
        assert socket.state is CLOSED

    run(scene)


def test_without_a_keepalive_timeout_no_timer_is_armed() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        sockets = await make(keepalive_timeout=None)
        sockets.rest(await connect(sockets))
        assert loop.armed_timers() == 0

    run(scene)


def test_no_timer_is_armed_for_a_socket_that_made_room_at_once() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        sockets = await make(limit=1, keepalive_timeout=4.0)
        socket = await connect(sockets, FakeSocket(sockets))
        task = await dialling(sockets)
        sockets.rest(socket)
        assert loop.armed_timers() == 0
        await task

    run(scene)


def test_ending_all_idle_sockets_stops_the_timer_and_spares_the_others() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        sockets = await make(limit=9, keepalive_timeout=4.0)
        fakes = [await connect(sockets) for _ in range(3)]
        sockets.rest(fakes[0])
        sockets.rest(fakes[1])
        sockets.end_idle()
        assert [socket.state for socket in fakes] == [CLOSING, CLOSING, ACQUIRED]
        assert loop.armed_timers() == 0
        now = sockets.statistics()
        assert (now.expired, now.evicted) == (0, 0)

    run(scene)


async def test_emptied_returns_when_the_last_socket_is_lost_and_not_before() -> None:
    sockets = await make()
    await sockets.emptied()
    one, two = await connect(sockets), await connect(sockets)
    tasks = [asyncio.create_task(sockets.emptied()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.pop().cancel()
    sockets.lost(one)
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    sockets.lost(two)
    await asyncio.gather(*tasks)


def test_the_statistics_are_a_frozen_record() -> None:
    record = SocketStatistics(*range(14))
    with pytest.raises(AttributeError):
        record.open = 3  # type: ignore[misc]  # the refusal is what is tested
