"""Any order of events, under the ledger's eyes: a shrunk failure reads as a program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pool_ledger import PoolLedger
from virtual_time import VirtualTimeLoop
from wires import Peer, Wire

from swarmpool import (
    AcquireTimeout,
    ConnectFailed,
    ConnectionPool,
    Lease,
    PoolClosed,
    TooManyWaiting,
)
from swarmpool.lifecycle import State

ANSWERS = (AcquireTimeout, ConnectFailed, PoolClosed, TooManyWaiting, OSError)
TIMES = st.sampled_from([0.0, 0.1, 1.0, 3.0, 30.0])


class PoolMachine(RuleBasedStateMachine):
    """Callers are tasks: those that have a lease stand in `held`, those that have not in `callers`."""

    @initialize(
        max_size=st.none() | st.integers(1, 3),
        max_waiting=st.none() | st.integers(0, 2),
        max_dialing=st.none() | st.integers(1, 2),
        max_age=st.none() | st.just(40.0),
        max_idle=st.none() | st.just(15.0),
        reconnect_delay=st.none() | st.just(2.0),
        checked=st.booleans(),
        close_seconds=st.sampled_from([0.0, 0.5]),
    )
    def start(self, *, checked: bool, close_seconds: float, **options: Any) -> None:
        self.checked = checked
        self.loop = VirtualTimeLoop()
        self.peer = Peer(dial_seconds=0.5, close_seconds=close_seconds)
        self.ledger = PoolLedger()
        self.dead: list[Wire] = []
        self.pool = ConnectionPool[Wire](
            connect_cb=self.peer.connect,
            close_cb=self.peer.close,
            validate_cb=self.check if checked else None,
            connect_timeout=5.0,
            close_timeout=2.0,
            seed=1,
            on_event=self.ledger,
            **options,
        )
        self.ledger.watch(self.pool)
        self.callers: list[asyncio.Task[Lease[Wire]]] = []
        self.held: list[Lease[Wire]] = []
        self.bare: list[Wire] = []
        self.closings: list[asyncio.Task[None]] = []
        self.prewarmings: list[Any] = []
        self.cancelled: set[asyncio.Task[Lease[Wire]]] = set()

    async def check(self, wire: Wire) -> bool:
        await asyncio.sleep(0.2)
        return all(wire is not other for other in self.dead)

    # ---------------------------------------------------------------------------------------------- rules

    @rule(timeout=st.none() | TIMES)
    def acquire(self, timeout: float | None) -> None:
        self.callers.append(self.loop.create_task(self.pool.acquire(timeout)))

    @rule()
    def let_them_run(self) -> None:
        self.loop.turn(3)

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule(data=st.data(), well=st.booleans())
    def end_a_lease(self, data: st.DataObject, well: bool) -> None:
        if self.held:
            lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1), label="which"))
            self.in_loop(lease.release if well else lease.discard)

    @rule()
    def get(self) -> None:
        """What is idle when all others have run is there for whoever asks next."""
        self.loop.turn(3)
        if self.pool.state is State.OPEN and self.pool.statistics().idle and not self.checked:
            getting = self.loop.create_task(self.pool.get(timeout=0))
            self.loop.turn(2)
            if getting.exception() is None:
                self.bare.append(getting.result())
            else:  # it expired in this moment
                assert isinstance(getting.exception(), AcquireTimeout)

    @rule(data=st.data(), method=st.sampled_from(["put", "remove"]), twice=st.booleans())
    def put_or_remove(self, data: st.DataObject, method: str, twice: bool) -> None:
        if self.bare:
            wire = self.bare.pop(data.draw(st.integers(0, len(self.bare) - 1), label="which"))

            def give_back() -> None:
                for _ in range(1 + twice):
                    getattr(self.pool, method)(wire)

            self.in_loop(give_back)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.callers:
            task = self.callers[data.draw(st.integers(0, len(self.callers) - 1), label="which")]
            if task.cancel():
                self.cancelled.add(task)

    @rule(data=st.data())
    def peer_closes(self, data: st.DataObject) -> None:
        wires = [wire for wire in self.peer.wires if not wire.closed]
        if wires and self.loop_is_known():
            wire = data.draw(st.sampled_from(wires), label="which")
            self.dead.append(wire)
            self.in_loop(lambda: self.pool.lost(wire))

    @rule(seconds=st.sampled_from([0.0, 4.0, 100.0]))
    def dial_is_slow_or_hangs(self, seconds: float) -> None:
        self.peer.dials.append(seconds)

    @rule()
    def dial_fails(self) -> None:
        self.peer.dials.append(OSError("refused"))

    @rule(step=st.sampled_from([100.0, OSError("broken")]))
    def close_hangs_or_fails(self, step: BaseException | float) -> None:
        self.peer.closes.append(step)

    @rule()
    def invalidate(self) -> None:
        self.in_loop(self.pool.invalidate)

    @rule(number=st.integers(1, 4))
    def prewarm(self, number: int) -> None:
        self.loop.turn(1)
        if self.pool.state in (State.NEW, State.OPEN):
            self.ledger.prewarmed = max(self.ledger.prewarmed, number)
            self.in_loop(lambda: self.prewarmings.append(self.pool.prewarm(number)))

    @rule(most=st.integers(0, 2))
    def shrink(self, most: int) -> None:
        self.in_loop(lambda: self.pool.shrink(most))

    @precondition(lambda self: len(self.ledger.events) > 20)
    @rule(drain=st.none() | TIMES)
    def aclose(self, drain: float | None) -> None:
        self.closings.append(self.loop.create_task(self.pool.aclose(drain)))

    # ---------------------------------------------------------------------------------------------- checks

    def in_loop(self, work: Callable[[], object]) -> None:
        """Call it from inside the loop, and see what it raises."""

        async def call() -> None:
            work()

        task = self.loop.create_task(call())
        self.loop.turn(1)
        task.result()

    def loop_is_known(self) -> bool:
        return self.pool.state is not State.NEW

    @invariant()
    def the_ledger_agrees(self) -> None:
        self.ledger.check()

    @invariant()
    def every_caller_has_a_legal_answer_and_no_connection_two_owners(self) -> None:
        for task in [task for task in self.callers if task.done()]:
            self.callers.remove(task)
            if task.cancelled():
                assert task in self.cancelled, "nobody is cancelled whom nobody cancelled"
            elif (error := task.exception()) is not None:
                assert isinstance(error, ANSWERS), error
            else:
                self.held.append(task.result())
        owned = [id(lease.connection) for lease in self.held] + [id(wire) for wire in self.bare]
        assert len(set(owned)) == len(owned)

    @invariant()
    def what_is_held_is_open_until_the_pool_closes(self) -> None:
        if self.pool.state in (State.NEW, State.OPEN):
            held = [lease.connection for lease in self.held] + self.bare
            assert not any(wire.closed for wire in held)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.peer.closes.clear()
        self.loop.run_until_complete(self.pool.aclose(1.0))
        self.loop.advance(200.0)
        self.ledger.check()
        now = self.pool.statistics()
        assert (now.opened, now.closed, now.open) == (self.peer.opened, self.peer.closed, 0)
        assert all(task.done() for task in [*self.callers, *self.closings])
        assert all(prewarming.done() for prewarming in self.prewarmings)
        self.every_caller_has_a_legal_answer_and_no_connection_two_owners()
        self.loop.close_clean()


PoolMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50)
TestPool = PoolMachine.TestCase
