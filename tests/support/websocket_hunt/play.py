"""Plays one plan: starts everything at its time, heals the world, sees that all comes to its end, and closes.

The last part is where liveness is judged: once nothing is in trouble any more everybody gets an answer, a newcomer gets
a websocket, closing ends in its time, and then neither end has anything open, nor the loop anything to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from raw_agent import eventually

from fleetsim import Fleet, Profile
from fleetsim.records import ConnectionRecord
from simkernel import Net
from swarmpool import ConnectionPool, PoolClosed
from swarmpool.connection_pool import ConnectionEvent, Prewarming
from swarmpool.lifecycle import State
from websocket_hunt.stands import STANDS, Stand
from websocket_hunt.steps import (
    Cancel,
    CancelAfter,
    Close,
    Invalidate,
    Lending,
    NetFault,
    Prewarm,
    Request,
    ServerFault,
    Shrink,
    Step,
    Use,
)
from websocket_hunt.users import SpoiltError, UseFailedError, User
from websocket_hunt.witness import Witness

__all__ = ["play"]

_SERVERS = 2
_PINGS = Profile(ttft=0.02, ws_ping_interval=1.0, ws_ping_timeout=2.5)  # nobody who talks is deaf for so long
_QUIET = 5.0  # seconds; more than the two together
_LIVE = 300.0  # seconds within which all that is pending ends, once the world is well
_PATIENCES = 3.0  # seconds for code that was cancelled to clean up: of a dial, of a check, of a close
_SEEN = 60.0  # seconds until the fleet has seen the end of everything, if nothing was lost on the way
_GONE = 1100.0  # seconds until a kernel forgets a connection that nobody hears of any more


async def play(net: Net, plan: Sequence[Step], stands: Mapping[str, type[Stand]] = STANDS) -> None:
    """Raises ViolationError for what did not hold."""
    lending = next((step for step in plan if isinstance(step, Lending)), Lending())
    kind = stands[lending.kind]
    profile = _PINGS if kind.listens else Profile(ttft=0.02)
    async with Fleet(_SERVERS, profile=profile, seed=net.seed) as fleet:
        game = Play(net, fleet, plan, kind, lending)
        await game.run()
        game.witness.check()
    await game.at_rest()
    game.witness.check()


_DEAF = frozenset({"blackhole", "half_open", "stop_reading"})  # whose servers do not notice an end


class Play:
    """One plan under way."""

    def __init__(self, net: Net, fleet: Fleet, plan: Sequence[Step], kind: type[Stand], lending: Lending) -> None:
        self._net, self._fleet, self._plan, self._lending = net, fleet, plan, lending
        self._loop = asyncio.get_running_loop()
        network = any(isinstance(step, NetFault) for step in plan)
        troubled = network or any(isinstance(step, ServerFault) for step in plan)
        self.witness = Witness(fleet, troubled=troubled, network=network, listens=kind.listens)
        self._stand = kind(lending, fleet, (partial(self._event, 0), partial(self._event, 1)))
        for ledger, pool in zip(self.witness.ledgers, self._stand.pools, strict=False):
            ledger.watch(pool)
            ledger.prewarmed = max((step.number for step in plan if isinstance(step, Prewarm)), default=0)
        self._asking: dict[int, None] = {}
        self._tasks: dict[int, list[asyncio.Task[None]]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._prewarmings: list[Prewarming] = []
        self._closed_at: float | None = None
        self._closing = False
        self._aims = [step for step in plan if isinstance(step, CancelAfter)]
        self._do: dict[type[Step], Callable[[Any], None]] = {
            Use: lambda step: self._start(step.name, self._use(step)),
            Request: lambda step: self._start(step.name, self._ask(step)),
            Close: lambda step: self._start(step.name, self._close(step.drain)),
            Cancel: lambda step: self._cancel(step.name),
            Prewarm: self._prewarm,
            Invalidate: lambda step: self._pool(step.which).invalidate(),
            Shrink: self._shrink,
            NetFault: self._net_fault,
            ServerFault: self._server_fault,
        }

    async def run(self) -> None:
        """All of it, but for what is left when the fleet has closed."""
        begun = self._loop.time()
        for step in self._plan:
            if type(step) in self._do:
                self._loop.call_at(begun + step.at, self._do[type(step)], step)
        await asyncio.sleep(max((step.at for step in self._plan), default=0.0) + 0.001)
        self._heal()
        await self._all_end()
        await self._newcomers_are_served()
        await self._books_agree()
        if self._closing:
            await eventually(lambda: self._stand.is_closed, "cancelling whoever closes does not stop the closing")
        else:
            await self._close(5.0)
        self._look_back()
        await self._stand.put_away()
        await self._nothing_open_there()

    async def at_rest(self) -> None:
        """Nothing is left to do once the fleet has closed, too."""
        for _ in range(20):
            await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self.witness.must(not left, f"no task is left: {left}")
        timers = [timer for timer in self._loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        self.witness.must(not timers, f"no timer is left: {timers}")

    async def _nothing_open_there(self) -> None:
        """The fleet sees all ends, but for those of connections that its faults have made it deaf to, and those cut off
        for good with half a request: a server waits for the rest of it as long as it lives."""
        lost = any(isinstance(step, NetFault) for step in self._plan)
        try:
            await self._fleet.ledger.wait_for(timeout=_GONE if lost else _SEEN, open_now=0)
        except TimeoutError:
            there = [record for record in self._fleet.ledger.connection_records() if record.ended_at is None]
            heard = [record for record in there if not _DEAF.intersection(_struck(self._fleet, record))]
            heard = [record for record in heard if record.requests or record.peer not in self._cut_off()]
            self.witness.must(not heard, f"the fleet has seen the end of every connection, but not of {heard}")

    def _cut_off(self) -> set[str]:
        """The client's addresses of connections on which nothing arrives any more."""
        silent = [each.client.local for each in self._net.connections.values() if each.silent]
        return {f"{address[0]}:{address[1]}" for address in silent if address is not None}

    # ---------------------------------------------------------------------------------------------- steps

    def _pool(self, which: int) -> ConnectionPool[Any]:
        return self._stand.pools[which % len(self._stand.pools)]

    def _start(self, name: int, work: Any) -> None:
        self._tasks.setdefault(name, []).append(self._loop.create_task(work, name=f"step {name}"))

    def _cancel(self, name: int) -> None:
        for task in self._tasks.get(name, ()):
            if task.cancel():
                self._cancelled.add(task)

    def _prewarm(self, step: Prewarm) -> None:
        try:
            self._prewarmings.append(self._pool(step.which).prewarm(step.number))
        except PoolClosed:
            self.witness.must(self._closing, "prewarm on a pool that nobody has closed")

    def _shrink(self, step: Shrink) -> None:
        if self._pool(step.which).state is not State.NEW:
            self._pool(step.which).shrink(step.most)

    def _where(self, which: int) -> tuple[str, int]:
        endpoint = self._fleet.endpoints[which]
        return endpoint.host, endpoint.port

    def _net_fault(self, step: NetFault) -> None:
        getattr(self._net, step.what)(self._where(step.which), **dict(step.settings))

    def _server_fault(self, step: ServerFault) -> None:
        self._fleet.fault(step.what, times=step.times, for_=step.lasting, where={"server": step.which})

    def _event(self, which: int, event: ConnectionEvent) -> None:
        self.witness.see(which, event)
        number = self.witness.counts[event.kind]
        for aim in self._aims:
            if aim.kind is event.kind and aim.number == number:
                self._strike(aim)

    def _strike(self, aim: CancelAfter) -> None:
        name = aim.name or next(iter(self._asking), 0)
        loop: Any = self._loop
        if aim.turns is None:
            self._cancel(name)
        else:
            loop.call_after_turns(aim.turns, partial(self._cancel, name))

    # ---------------------------------------------------------------------------------------------- tasks

    async def _use(self, step: Use) -> None:
        user = User(step, self._pool(step.which), self.witness, realtime=self._lending.path == "/v1/realtime")
        user.begins = partial(self._answered, step, self._loop.time())
        self._asking[step.name] = None
        try:
            await user.run()
        except SpoiltError as error:
            self.witness.talked(step.name, error, closing=self._closing)
        except UseFailedError:
            pass
        except Exception as error:  # noqa: BLE001 - the witness judges what a pool may raise
            user.begins(error)
        finally:
            self._asking.pop(step.name, None)

    def _answered(self, step: Use, begun: float, error: BaseException | None) -> None:
        self._asking.pop(step.name, None)
        seconds = self._loop.time() - begun
        self.witness.answered(step.name, error, seconds=seconds, timeout=step.timeout, closing=self._closing)

    async def _ask(self, step: Request) -> None:
        if not self._stand.answers:
            return
        try:
            well = await self._stand.ask(step.which, f"{step.name}")
        except PoolClosed:
            self.witness.must(self._closing, f"request {step.name} finds the pool closed, which nobody has closed")
        else:
            self.witness.must(well or self.witness.troubled or self._closing, f"request {step.name} is answered")

    async def _close(self, drain: float | None) -> None:
        begun, self._closing = self._loop.time(), True
        await self._stand.close(drain)
        self._closed_at = self._closed_at or self._loop.time()
        within = (drain or 0.0) + dict(self._lending.options).get("close_timeout", 5.0) + _PATIENCES
        took = self._loop.time() - begun
        self.witness.must(took <= within, f"closing with drain={drain} ends within {within} s, not after {took}")

    # ---------------------------------------------------------------------------------------------- the end

    def _heal(self) -> None:
        self._net.heal()
        self._fleet.faults.clear()

    def _everybody(self) -> list[asyncio.Task[None]]:
        return [task for tasks in self._tasks.values() for task in tasks]

    async def _all_end(self) -> None:
        tasks = self._everybody()
        if tasks:
            await asyncio.wait(tasks, timeout=_LIVE)
        late = [task for task in tasks if not task.done()]
        self.witness.must(
            not late, f"all end once the world is well: {late}, {[repr(pool) for pool in self._stand.pools]}"
        )
        for task in tasks:
            self._see_end(task)
        self.witness.check()

    def _see_end(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel()
        elif task.cancelled():
            self.witness.must(task in self._cancelled, f"{task.get_name()} is cancelled, by nobody")
        elif (error := task.exception()) is not None:
            raise error

    async def _newcomers_are_served(self) -> None:
        if self._closing:
            return
        for which in range(len(self._stand.pools)):
            served = self._loop.create_task(self._use(Use(name=-1 - which, which=which, how="acquire")))
            await asyncio.wait([served], timeout=_LIVE)
            self.witness.must(served.done(), f"a newcomer is served once the world is well: {self._pool(which)!r}")
            self._see_end(served)

    async def _books_agree(self) -> None:
        """When all is quiet: the pool's books with each other, and with the server's if nothing has been in trouble."""
        if self._closing:
            return
        await asyncio.sleep(_QUIET)
        self.witness.must(not self._stand.amiss(), f"when quiet all adds up: {self._stand.amiss()}")
        if self._stand.listens and not self.witness.troubled:
            there, here = self._fleet.ledger.websockets_open, sum(pool.statistics().open for pool in self._stand.pools)
            self.witness.must(
                there == here, f"when quiet both ends have as many websockets: {there} there, {here} here"
            )

    def _look_back(self) -> None:
        """When the pool is closed."""
        for pool in self._stand.pools:
            now = pool.statistics()
            self.witness.must((now.open, now.opened) == (0, now.closed), f"what was opened is closed: {now}")
            self.witness.must(now.state is State.CLOSED, f"a closed pool says so: {now}")
        self.witness.must(not self._stand.left(), f"nothing is left of a closed pool: {self._stand.left()}")
        self.witness.must(all(each.done() for each in self._prewarmings), "a prewarm is over when its pool is")
        most, peak = self._stand.most_sockets, self._net.statistics.peak_connections
        self.witness.must(most is None or peak <= most, f"{peak} sockets were open at once, of {most}")


def _struck(fleet: Fleet, there: ConnectionRecord) -> set[str]:
    """The faults that struck a connection, or a request on it."""
    requests = fleet.ledger.request_records()
    return {
        *there.faults,
        *(fault for each in requests if each.connection == there.connection for fault in each.faults),
    }
