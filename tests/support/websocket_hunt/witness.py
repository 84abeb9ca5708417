"""What must hold of pools of websockets, judged as it happens and from both ends.

A `PoolLedger` keeps each pool's books, event by event: states add up, no limit is exceeded, nothing stale is handed
out, nobody waits beside room, nothing is opened by a closed pool. The witness adds what events do not tell: hands,
order, answers, errors, time limits, and what the fleet saw.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
from pool_ledger import PoolLedger

from fleetsim import Fleet
from swarmpool import AcquireTimeout, ConnectFailed, ConnectionPool, PoolClosed, TooManyWaiting
from swarmpool.connection_pool import ConnectionEvent, EventKind
from swarmpool.lifecycle import State

__all__ = ["TROUBLES", "ViolationError", "Witness"]

TROUBLES = (ConnectFailed, aiohttp.ClientError, OSError)
"""What a caller is told of a server or a network in trouble."""
_LATE = 0.05  # seconds; the furthest that a time limit may be overstepped, and that news may take without trouble


class ViolationError(AssertionError):
    """Something that must hold does not."""


class Witness:
    """Judges one run. `troubled`: whether the plan has faults in it, so that errors may be the world's."""

    def __init__(self, fleet: Fleet, *, troubled: bool, network: bool, listens: bool) -> None:
        self.faults: list[str] = []
        self.ledgers = (PoolLedger(), PoolLedger())
        self.counts: Counter[EventKind] = Counter()
        self._fleet = fleet
        self.troubled, self._network, self.listens = troubled, network, listens
        self._hands: dict[int, int] = {}

    def must(self, holds: bool, sentence: str) -> None:
        """Keep the sentence if it does not hold."""
        if not holds:
            self.faults.append(f"at {asyncio.get_running_loop().time():.6f}: {sentence}")

    def check(self) -> None:
        """Raise what has been found."""
        if self.faults:
            raise ViolationError("\n".join(self.faults[:5]))
        for ledger in self.ledgers:
            try:
                ledger.check()
            except AssertionError as error:
                raise ViolationError(str(error)) from None

    # ---------------------------------------------------------------------------------------------- callers

    def took(self, pool: ConnectionPool[Any], websocket: Any, name: int) -> None:
        """A caller has a websocket."""
        there = self._hands.setdefault(id(websocket), name)
        self.must(there == name, f"no websocket is in two hands: {name} was given what {there} has")
        state = pool.state
        self.must(state is not State.CLOSED, f"a closed pool lends nothing, but {name} has got something")
        if self.listens and not self._network:
            self._see_ended(websocket, name)

    def gives_back(self, websocket: Any, name: int) -> None:
        """It is about to give it back."""
        if self._hands.get(id(websocket)) == name:
            del self._hands[id(websocket)]

    def _see_ended(self, websocket: Any, name: int) -> None:
        """Nothing is handed out that the server has ended before."""
        where = websocket.get_extra_info("sockname")
        if where is None:
            return
        peer, now = f"{where[0]}:{where[1]}", asyncio.get_running_loop().time()
        for record in self._fleet.ledger.connection_records():
            if record.peer == peer and record.ended_at is not None:
                self.must(now - record.ended_at < _LATE, f"{name} was handed a websocket that the server has ended")

    def answered(
        self, name: int, error: BaseException | None, *, seconds: float, timeout: float | None, closing: bool
    ) -> None:
        """A caller that had asked for a websocket `seconds` ago has got it, or this error."""
        if timeout is not None:
            self.must(seconds <= timeout + _LATE, f"{name} is answered within timeout={timeout}, not after {seconds}")
        if isinstance(error, AcquireTimeout):
            early = timeout is None or seconds < timeout - 1e-6
            self.must(not early, f"{name} is told {error} in time, not after {seconds} s of {timeout}")
        elif isinstance(error, PoolClosed):
            self.must(closing, f"{name} is told {error}, which nobody has closed")
        elif isinstance(error, TROUBLES):
            self.must(self.troubled, f"{name} is told {error!r}, and nothing is in trouble")
        elif error is not None:
            self.must(isinstance(error, TooManyWaiting), f"{name} is told {error!r}")

    def talked(self, name: int, error: BaseException, *, closing: bool) -> None:
        """A caller that had a websocket could not finish talking."""
        self.must(self.troubled or closing, f"{name} cannot talk ({error}), and nothing is in trouble")

    # ---------------------------------------------------------------------------------------------- events

    def see(self, which: int, event: ConnectionEvent) -> None:
        """A pool says what happens."""
        self.ledgers[which](event)
        self.counts[event.kind] += 1
        if event.kind is EventKind.ACQUIRED and event.caller is not None:
            self._see_order(which, event.caller)

    def _see_order(self, which: int, served: int) -> None:
        """Nobody who came later is served before one who has never been."""
        pool = self.ledgers[which]._pool
        assert pool is not None
        first = next(iter(pool._core.line._newcomers), served)
        self.must(first >= served, f"callers are served in order: {served} came after {first}, who still waits")
