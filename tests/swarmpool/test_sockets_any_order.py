"""The sockets of a tree under any order of events: a state machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_socket import FakeSocket
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from virtual_time import VirtualTimeLoop

from swarmpool.sockets import Endable, Sockets, SocketState

_, ACQUIRED, IDLE, CLOSING, CLOSED = SocketState


class SocketsMachine(RuleBasedStateMachine):
    """Dials that connect, fail and are cancelled; sockets that rest, age, are reused, ended and lost."""

    dials = Bundle("dials")
    fakes = Bundle("fakes")

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.waiting: list[asyncio.Task[None]] = []
        self.granted: list[asyncio.Task[None]] = []
        self.all: list[FakeSocket] = []
        self.idle_since: dict[FakeSocket, float] = {}
        self.failed = 0

    @initialize(limit=st.integers(1, 4), keepalive_timeout=st.none() | st.just(4.0))
    def start(self, limit: int, keepalive_timeout: float | None) -> None:
        self.limit, self.keepalive_timeout = limit, keepalive_timeout
        self.sockets = Sockets(limit=limit, keepalive_timeout=keepalive_timeout, loop=self.loop)

    @rule(target=dials)
    def dial(self) -> asyncio.Task[None]:
        task = self.loop.create_task(self.sockets.reserve())
        self.waiting.append(task)
        self.loop.turn()
        self.look_who_was_granted()
        return task

    @rule(task=dials)
    def cancel_a_dial_in_line(self, task: asyncio.Task[None]) -> None:
        if task in self.waiting:
            task.cancel()

    @rule()
    def turn(self) -> None:
        self.loop.turn(2)
        self.look_who_was_granted()

    def look_who_was_granted(self) -> None:
        done = [task for task in self.waiting if task.done()]
        self.waiting = [task for task in self.waiting if not task.done()]
        self.granted += [task for task in done if not task.cancelled()]

    @precondition(lambda self: self.granted)
    @rule(target=fakes)
    def connects(self) -> FakeSocket:
        del self.granted[-1]
        socket = FakeSocket()
        self.sockets.connected(socket)
        self.all.append(socket)
        return socket

    @precondition(lambda self: self.granted)
    @rule()
    def fails(self) -> None:
        del self.granted[-1]
        self.failed += 1
        self.sockets.dial_failed()

    @rule(socket=fakes)
    def comes_to_rest(self, socket: FakeSocket) -> None:
        if self.legal(self.sockets.rest, socket, socket.state is ACQUIRED):
            self.idle_since.pop(socket, None)  # so that the mapping is in the order of the releases
            self.idle_since[socket] = self.loop.time()

    @rule(socket=fakes)
    def is_reused(self, socket: FakeSocket) -> None:
        self.legal(self.sockets.reuse, socket, socket.state is IDLE)

    @rule(socket=fakes)
    def is_ended(self, socket: FakeSocket) -> None:
        self.legal(self.sockets.end, socket, legal=True)

    @rule(target=fakes, socket=consumes(fakes))
    def is_lost(self, socket: FakeSocket) -> Any:
        self.legal(self.sockets.lost, socket, socket.state is not CLOSED)
        return multiple()

    @rule()
    def what_was_ended_is_lost(self) -> None:
        for socket in self.all:
            if socket.state is CLOSING:
                self.sockets.lost(socket)

    @rule(seconds=st.sampled_from([1.0, 2.5, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.look_who_was_granted()

    def legal(self, call: Callable[[Endable], None], socket: FakeSocket, legal: bool) -> bool:
        if legal:
            call(socket)
            return True
        before, state = self.sockets.statistics(), socket.state
        with pytest.raises(RuntimeError):
            call(socket)
        assert (self.sockets.statistics(), socket.state) == (before, state)
        return False

    @invariant()
    def never_more_than_the_limit(self) -> None:
        now = self.sockets.statistics()
        assert now.open == now.dialing + now.acquired + now.idle + now.closing == self.sockets.open
        assert now.open <= now.peak_open <= self.limit
        assert min(now.dialing, now.acquired, now.idle, now.closing) >= 0

    @invariant()
    def the_counts_are_those_of_the_sockets(self) -> None:
        now = self.sockets.statistics()
        states = [socket.state for socket in self.all]
        assert now.acquired == states.count(ACQUIRED)
        assert now.idle == states.count(IDLE)
        assert now.closing == states.count(CLOSING)
        assert now.closed == states.count(CLOSED)
        assert (now.opened, now.failed) == (len(self.all), self.failed)
        assert all(socket.ended == 1 for socket in self.all if socket.state is CLOSING)

    @invariant()
    def no_dial_waits_beside_a_free_place(self) -> None:
        self.loop.turn(2)
        self.look_who_was_granted()
        now = self.sockets.statistics()
        assert now.dialing == len(self.granted)
        assert not self.waiting or now.open == self.limit
        assert now.idle == 0 or now.closing >= len(self.waiting)

    @invariant()
    def nothing_idle_is_too_old(self) -> None:
        if self.keepalive_timeout is not None:
            oldest = self.loop.time() - self.keepalive_timeout
            assert all(self.idle_since[socket] > oldest for socket in self.all if socket.state is IDLE)

    @invariant()
    def the_longest_idle_goes_first(self) -> None:
        idle = list(self.sockets._idle)
        assert idle == [socket for socket in self.idle_since if socket.state is IDLE]

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.loop.turn(3)
        if hasattr(self, "sockets"):
            self.look_who_was_granted()
            while self.granted:
                self.fails()
            self.sockets.end_idle()
            for socket in self.all:
                if socket.state is not CLOSED:
                    self.sockets.lost(socket)
            self.loop.run_until_complete(self.sockets.emptied())
        self.loop.close_clean()


SocketsMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestSockets = SocketsMachine.TestCase
