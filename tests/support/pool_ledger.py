"""A listener that keeps a pool's books by itself and compares them with the pool's after every event.

It knows of each connection what the events said, and nothing else: where it is in its life, of which generation, since
when. What it finds is kept in `faults`, because a listener that raises changes nothing; `check` raises it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import fields
from typing import Any

from swarmpool.connection_pool import ConnectionEvent, ConnectionPool, ConnectionPoolStatistics, EventKind
from swarmpool.lifecycle import State

__all__ = ["PoolLedger"]

K = EventKind
GAUGES = {"state", "max_size", "open", "dialing", "idle", "leased", "closing", "waiting", "checking"}
COUNTERS = {field.name for field in fields(ConnectionPoolStatistics)} - GAUGES
LEGAL = {  # what may happen to a connection, by what has happened to it last
    None: {K.DIALING},
    K.DIALING: {K.OPENED, K.FAILED},
    K.OPENED: {K.IDLE, K.CLOSING},
    K.IDLE: {K.LEASED, K.CLOSING},
    K.LEASED: {K.ACQUIRED, K.IDLE, K.CLOSING},
    K.ACQUIRED: {K.IDLE, K.CLOSING},
    K.CLOSING: {K.CLOSED},
    K.CLOSED: set(),
    K.FAILED: set(),
}
OUTCOMES = (K.ACQUIRED, K.TIMED_OUT, K.CANCELLED, K.REJECTED, K.REFUSED, K.CLOSED_OUT)
SLACK = 0.001


class Line:
    """What the ledger knows of one connection."""

    def __init__(self, generation: int) -> None:
        self.last: EventKind | None = None
        self.generation = generation
        self.opened_at = self.idle_since = self.used_at = 0.0
        self.uses = 0


class PoolLedger:
    """Pass it as `on_event`, then `watch` the pool."""

    def __init__(self) -> None:
        self.events: list[ConnectionEvent] = []
        self.faults: list[str] = []
        self.lines: dict[int, Line] = {}
        self.prewarmed = 0
        """The most connections that the test has asked to be prewarmed at once."""
        self._generation = 0
        self._outcomes: Counter[EventKind] = Counter()
        self._last_served = 0
        self._before: dict[str, int] = {}
        self._pool: ConnectionPool[Any] | None = None
        self._ended = self._closing = False

    def watch(self, pool: ConnectionPool[Any]) -> None:
        """Compare with this pool's statistics from now on."""
        self._pool = pool

    def __call__(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._see_sequence(event)
        self._see_life(event)
        self._see_caller(event)
        if event.connection is not None:
            self._see_connection(event, event.connection)
        if self._pool is not None:
            self._see_books(event, self._pool.statistics())
            asyncio.get_running_loop().call_soon(self._see_nobody_waits_in_vain)

    def check(self) -> None:
        """Raise what has been found."""
        assert not self.faults, "\n".join([*self.faults, "after:", *map(str, self.events[-20:])])

    def kinds(self, connection: int | None = None) -> list[str]:
        """What happened, to all or to one connection."""
        return [event.kind.value for event in self.events if connection in (None, event.connection)]

    # ---------------------------------------------------------------------------------------------- one event

    def _must(self, holds: bool, event: ConnectionEvent, sentence: str) -> None:
        if not holds:
            self.faults.append(f"{sentence}: {event}")

    def _see_sequence(self, event: ConnectionEvent) -> None:
        self._must(event.sequence == len(self.events), event, "events are numbered without gaps")
        if len(self.events) > 1:
            self._must(event.at >= self.events[-2].at, event, "events are in order of time")

    def _see_life(self, event: ConnectionEvent) -> None:
        """25, 27: nothing is opened or lent when the pool closes, and nothing happens when it is closed."""
        self._must(not self._ended, event, "nothing happens after the pool has closed")
        if self._closing:
            self._must(event.kind not in (K.DIALING, K.LEASED, K.ACQUIRED), event, "a closing pool serves nobody")
        self._closing |= event.kind is K.POOL_CLOSING
        self._ended |= event.kind is K.POOL_CLOSED
        self._generation += event.kind is K.INVALIDATED

    def _see_caller(self, event: ConnectionEvent) -> None:
        """8: nobody who came later overtakes."""
        if event.kind in OUTCOMES:
            self._outcomes[event.kind] += 1
        if event.kind is K.ACQUIRED and event.caller is not None and not self._checks():
            self._must(event.caller > self._last_served, event, "callers are served in order of arrival")
            self._last_served = event.caller

    def _see_connection(self, event: ConnectionEvent, number: int) -> None:
        line = self.lines.setdefault(number, Line(self._generation))
        legal = LEGAL[line.last]
        self._must(event.kind in legal, event, f"a connection that was {line.last} may be {sorted(legal)} next")
        if event.kind is K.OPENED:
            line.opened_at = line.idle_since = line.used_at = event.at
        elif event.kind is K.IDLE:
            line.idle_since = event.at
        elif event.kind is K.LEASED:
            self._see_fresh(event, line)
        elif event.kind is K.ACQUIRED:
            self._must(event.reused is True or line.uses == 0, event, "what has served before is not new")
            line.uses += 1
            line.used_at = event.at if event.reused else line.used_at
        line.last = event.kind

    def _see_fresh(self, event: ConnectionEvent, line: Line) -> None:
        """19, 20, 23: nothing stale is handed out."""
        assert self._pool is not None
        options = self._pool._options
        self._must(line.generation == self._generation, event, "nothing of an earlier generation is handed out")
        since = line.used_at if options.mark_refreshed_on_get else line.opened_at
        for most, start in (
            (options.max_age, line.opened_at),
            (options.max_session_duration, since),
            (options.max_idle, line.idle_since),
        ):
            if most is not None:
                self._must(event.at - start <= most + SLACK, event, f"nothing older than {most} s is handed out")

    def _checks(self) -> bool:
        return self._pool is not None and self._pool._checks

    # ---------------------------------------------------------------------------------------------- the pool's books

    def _see_books(self, event: ConnectionEvent, now: ConnectionPoolStatistics) -> None:
        self._see_identities(event, now)
        self._see_own_count(event, now)
        self._see_demand(event, now)
        counters = {name: getattr(now, name) for name in COUNTERS}
        for name, value in counters.items():
            self._must(value >= self._before.get(name, 0), event, f"{name} only grows")
        self._before = counters
        for name in GAUGES - {"state", "max_size"}:
            self._must(getattr(now, name) >= 0, event, f"{name} is not negative")

    def _see_identities(self, event: ConnectionEvent, now: ConnectionPoolStatistics) -> None:
        """1, 2, 4, 27."""
        held = now.idle + now.leased + now.closing
        self._must(now.opened - now.closed == held, event, "opened - closed == idle + leased + closing")
        self._must(now.open == now.dialing + held, event, "open == dialing + idle + leased + closing")
        if now.max_size is not None:
            self._must(now.open <= now.peak_open <= now.max_size, event, "open <= max_size")
        ended = now.immediate + now.waited + now.timed_out + now.cancelled + now.rejected + now.refused
        attempts = ended + now.closed_out + now.waiting + now.checking
        self._must(now.attempts == attempts, event, "every caller has one end")
        if event.kind is K.POOL_CLOSED:
            self._must(now.open == now.waiting == now.checking == 0, event, "nothing is left in a closed pool")
            self._must(now.state is State.CLOSED, event, "a closed pool says so")

    def _see_own_count(self, event: ConnectionEvent, now: ConnectionPoolStatistics) -> None:
        """The ledger's own count of what the events said equals the pool's."""
        last = Counter(line.last for line in self.lines.values())
        counted = {
            "dialing": last[K.DIALING],
            "idle": last[K.IDLE],
            "leased": last[K.LEASED] + last[K.ACQUIRED],
            "closing": last[K.CLOSING],
            "closed": last[K.CLOSED],
            "failed": last[K.FAILED],
        }
        if event.kind is not K.OPENED:  # it says next whether it is idle or closed at once
            for name, value in counted.items():
                self._must(getattr(now, name) == value, event, f"{name} == {value} by the ledger")
        ended = {
            "timed_out": K.TIMED_OUT,
            "cancelled": K.CANCELLED,
            "rejected": K.REJECTED,
            "refused": K.REFUSED,
            "closed_out": K.CLOSED_OUT,
        }
        for name, kind in ended.items():
            self._must(getattr(now, name) == self._outcomes[kind], event, f"{name} counts its events")
        self._must(now.immediate + now.waited == self._outcomes[K.ACQUIRED], event, "each lease is counted once")

    def _see_demand(self, event: ConnectionEvent, now: ConnectionPoolStatistics) -> None:
        """13: no more dials than are wanted."""
        if event.kind is K.DIALING:
            fresh = sum(line.last is K.DIALING and line.generation == self._generation for line in self.lines.values())
            self._must(fresh <= max(now.waiting, self.prewarmed), event, "no dial that nobody wants")

    def _see_nobody_waits_in_vain(self) -> None:
        """7: a loop turn later, nobody waits beside an idle connection, or beside room for a dial."""
        assert self._pool is not None
        now, core = self._pool.statistics(), self._pool._core
        if now.waiting and now.idle:
            self.faults.append(f"nobody waits beside an idle connection: {now}")
        if now.waiting and now.state is State.OPEN and not core.demand.held_back:
            loop = asyncio.get_running_loop()
            startable = core.demand.startable(loop.time(), now.open, now.dialing)
            if core.demand.fresh < now.waiting and startable:
                self.faults.append(f"nobody waits beside room for a dial: {now}")
