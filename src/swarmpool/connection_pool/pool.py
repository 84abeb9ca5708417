"""`ConnectionPool`: persistent connections of any kind, such as websockets, kept and lent out."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from swarmpool.connection_pool.callbacks import finished, takes_timeout
from swarmpool.connection_pool.callers import Callers
from swarmpool.connection_pool.events import ConnectionEvent
from swarmpool.connection_pool.lease import Borrowing, Lease
from swarmpool.connection_pool.options import ConnectionPoolOptions
from swarmpool.connection_pool.prewarming import Prewarming
from swarmpool.connection_pool.states import ConnectionState, Entry
from swarmpool.connection_pool.statistics import ConnectionPoolStatistics
from swarmpool.errors import MisuseError
from swarmpool.lifecycle import State
from swarmpool.options import count, seconds

__all__ = ["ConnectionPool"]

T = TypeVar("T")


class ConnectionPool(Callers[T]):
    """A pool of persistent connections, each lent to one caller at a time and closed when its time has come.

    How to connect and close is given as callbacks, or by a subclass that overrides `connect` and `disconnect`.
    `connect_cb` takes the timeout in seconds, or nothing; `close_cb` and `validate_cb` take the connection, and may be
    plain or coroutine functions. T can be anything: connections are told by their identity.

    Time, in seconds (None = off). `max_session_duration` is the age after which a connection is not used again, or,
    with `mark_refreshed_on_get`, the time since it was last handed out. `max_age` is always age, counted from the end
    of the handshake; `max_idle` is always idleness, counted from the return. Each connection gets its ages shortened by
    up to the part `jitter` at random, so that those opened together do not end together. Idle connections whose time
    has come are closed then, with no traffic needed; a connection in use is never cut, but closed when it comes back.

    Size (None = no bound). `max_size` bounds connections, those being dialled and closed included; callers beyond it
    wait in order of arrival, at most `max_waiting` of them without a dial of their own. `max_dialing` bounds the dials
    under way at once. A caller is served by whichever comes first, a returned connection or a finished dial; a dial
    that nobody needs any more becomes an idle connection. Idle connections are handed out most recently used first.

    Trouble. A dial takes at most `connect_timeout` seconds and a close at most `close_timeout`; no caller waits for
    either but for the connection. A failed dial raises what `connect_cb` raised, to the one caller that has waited
    longest. Then the pool leaves the server alone for `reconnect_delay` seconds (None = not at all), twice as long
    after each further failure up to `max_reconnect_delay`: callers wait, one dial probes for them all, and if it fails
    those fail with it who could have been served by a dial. An idle connection for which `validate_cb` does not return
    True, or raises, is closed, and the caller gets another one. `close_cb` that fails is logged, counted and seen by
    nobody else.

    `name` is what errors, logs and the repr call it; `seed` makes its jitter repeatable; `on_event` is called with each
    `ConnectionEvent`, inside of what happens: it may look, and must not call the pool's other methods.

    A pool belongs to the event loop it is first used in, for any number of tasks there. Leave it by `async with` or
    `aclose`; after that it raises PoolClosed for ever.
    """

    def __init__(
        self,
        *,
        max_session_duration: float | None = None,
        mark_refreshed_on_get: bool = False,
        connect_cb: Callable[..., Awaitable[T]] | None = None,
        close_cb: Callable[[T], object] | None = None,
        connect_timeout: float = 10.0,
        validate_cb: Callable[[T], bool | Awaitable[bool]] | None = None,
        close_timeout: float = 5.0,
        max_size: int | None = None,
        max_waiting: int | None = None,
        max_dialing: int | None = None,
        max_age: float | None = None,
        max_idle: float | None = None,
        jitter: float = 0.05,
        reconnect_delay: float | None = 0.1,
        max_reconnect_delay: float = 30.0,
        seed: int | None = None,
        name: str | None = None,
        on_event: Callable[[ConnectionEvent], object] | None = None,
    ) -> None:
        options = ConnectionPoolOptions(
            name=type(self).__name__ if name is None else name,
            max_session_duration=max_session_duration,
            mark_refreshed_on_get=mark_refreshed_on_get,
            max_age=max_age,
            max_idle=max_idle,
            jitter=jitter,
            max_size=max_size,
            max_waiting=max_waiting,
            max_dialing=max_dialing,
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            reconnect_delay=reconnect_delay,
            max_reconnect_delay=max_reconnect_delay,
            seed=seed,
        )
        for parameter, callback in (("close_cb", close_cb), ("validate_cb", validate_cb), ("on_event", on_event)):
            if callback is not None and not callable(callback):
                raise TypeError(f"{parameter} must be callable, not {type(callback).__name__}")
        self._connect_cb, self._close_cb, self._validate_cb = connect_cb, close_cb, validate_cb
        self._callback_takes_timeout = connect_cb is not None and takes_timeout("connect_cb", connect_cb)
        own_connect = self._overrides("connect")
        super().__init__(
            options,
            dials=own_connect or connect_cb is not None,
            dial_takes_timeout=not own_connect or takes_timeout("connect", self.connect),
            closes=close_cb is not None or self._overrides("disconnect"),
            checks=validate_cb is not None or self._overrides("validate"),
            rested=_weakly(self) if self._overrides("rested") else None,
            on_event=on_event,
        )

    def _overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(ConnectionPool, method)

    # ---------------------------------------------------------------------------------------------- to override

    async def connect(self, timeout: float) -> T:
        """Make a connection within `timeout` seconds; an override may take no timeout. Called by the pool, in a task.

        It is cancelled when it takes longer, when the pool is invalidated, and when the pool is closed: whatever it has
        opened by then is its own to close.
        """
        if self._connect_cb is None:
            raise NotImplementedError("the pool cannot connect: pass connect_cb=... or override connect()")
        return await (self._connect_cb(timeout) if self._callback_takes_timeout else self._connect_cb())

    async def disconnect(self, connection: T) -> None:
        """Close `connection`. Called by the pool, in a task, once for each; cancelled after `close_timeout`."""
        if self._close_cb is not None:
            await finished(self._close_cb(connection))

    def validate(self, connection: T) -> bool | Awaitable[bool]:
        """Whether `connection`, which was idle, can be used. Called by the pool before it is handed out.

        An asynchronous answer is asked for in a task, and is a no after `connect_timeout` seconds.
        """
        return True if self._validate_cb is None else self._validate_cb(connection)

    def rested(self, connection: T) -> None:
        """`connection` has become idle. For a subclass that listens to its peer meanwhile and calls `lost`.

        Called inside of what made it idle: it may look, start a task or set a callback, and must not raise. `validate`
        is the counterpart, called before the connection is handed out.
        """

    # ---------------------------------------------------------------------------------------------- callers

    async def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Wait for a connection of one's own, at most `timeout` seconds (None = no limit; dials have theirs).

        Raises AcquireTimeout, TooManyWaiting, PoolClosed, what `connect_cb` raised, ConnectTimeout, or ConnectFailed
        for a dial that probed for others too. NotImplementedError if the pool was not told how to connect. Cancelling
        it loses no connection, whenever it comes; a dial it has caused goes on, for the next caller. Any number of
        callers.
        """
        entry, waited = await self._obtain(timeout)
        return Lease(self, entry, _of(entry), waited)

    def connection(self, timeout: float | None = None) -> Borrowing[T]:
        """`async with pool.connection() as connection`: acquired on entry, returned when the block ends well.

        It is discarded if the block raises anything, a cancellation included. Entering raises what `acquire` raises.
        """
        return Borrowing(self, timeout)

    async def get(self, timeout: float | None = None) -> T:
        """Wait for a connection, to be given back by `put` or `remove`. Raises and is cancelled as `acquire`.

        Prefer `acquire` or `connection`: they know whose turn it is. With the bare connection one hole cannot be
        closed: a second `put` of a connection that another caller of `get` has by then ends that caller's turn.
        """
        entry = self._take_idle() if timeout is None else None
        if entry is None:
            entry, _ = await self._obtain(timeout)
        entry.guarded = False
        return _of(entry)

    def put(self, connection: T) -> None:
        """Give back what `get` returned, for the next caller; it is closed instead if it is past its time.

        What is not lent out (put twice, removed, of another pool) is ignored and counted. MisuseError if a lease has
        it.
        """
        loop = self._here()
        entry = self._lent(connection)
        if entry is not None:
            self._end_use(entry, loop, usable=True)

    def remove(self, connection: T) -> None:
        """Close a connection that `get` returned or that is idle; returns at once. What the pool has not is ignored.

        MisuseError if a lease has it: discard the lease.
        """
        loop = self._here()
        entry = self._core.entry_of(connection)
        if entry is None or entry.state is not ConnectionState.IDLE:
            entry = self._lent(connection)
        if entry is not None:
            self._end_use(entry, loop, usable=False)

    def _lent(self, connection: T) -> Entry[T] | None:
        """The entry of a connection that a caller of `get` has."""
        entry = self._core.entry_of(connection)
        if entry is None or entry.state is not ConnectionState.LEASED:
            self._core.counters.ignored += 1
            return None
        if entry.guarded:
            raise MisuseError(f"connection {entry.number} is held by a lease: release or discard the lease")
        return entry

    # ---------------------------------------------------------------------------------------------- all connections

    def lost(self, connection: T) -> None:
        """Say that the peer has ended `connection`: closed now if it is idle, on return if it is in use.

        What the pool has not is ignored. The cost does not depend on how many connections there are.
        """
        loop = self._here()
        entry = self._core.entry_of(connection)
        if entry is not None:
            self._core.lose(entry, loop.time())
            self._carry_out()

    def shrink(self, most: int = 1) -> int:
        """Close up to `most` idle connections, longest idle first, and return how many; returns at once."""
        self._here()
        number = self._core.shrink(count("most", most, at_least=0))
        self._carry_out()
        return number

    def invalidate(self) -> None:
        """Use no connection again whose handshake began before this moment; returns at once.

        Idle ones are closed now, those in use when they come back, and dials under way are cancelled and begun anew for
        those who wait. A backoff ends. On a closed pool it does nothing.
        """
        loop = self._here()
        if self._life.state is not State.OPEN:
            return
        self._core.invalidate(loop.time())
        for errand, entry in list(self._dialing.items()):
            if entry.generation != self._core.generation:
                errand.cancel()
        self._carry_out()

    def prewarm(self, n: int = 1) -> Prewarming:
        """Start dials until `n` connections are idle or being dialled, as far as `max_size` allows; returns at once.

        The handle can be awaited, or left alone: then a failure shows in the statistics only. Failing changes nothing,
        and it can be called again. A caller that comes meanwhile takes one of its dials and causes no other.
        """
        number = count("n", n, at_least=0)
        loop = self._enter()
        handle = Prewarming(loop)
        self._core.prewarm(number, handle, loop.time())
        self._carry_out()
        return handle

    async def aclose(self, drain: float | None = 5.0) -> None:
        """Close the pool for good: refuse newcomers, fail those who wait, close what is idle, cancel dials.

        Connections in use have `drain` seconds to come back (None or 0 = none) and are closed then. When it returns no
        connection, task or timer of the pool is left; `close_timeout` bounds how long that takes beyond `drain`. It may
        be called often and by many at once: all return when it is done, and the soonest drain counts. Cancelling a
        caller does not stop the closing.
        """
        if drain is not None:
            seconds("drain", drain, zero=True)
        if self._life.state is State.NEW:
            self._life.move(State.CLOSED)
            self._core.closed_for_good = True
        if self._life.state is State.CLOSED:
            return
        loop = self._here()
        if self._life.state is State.OPEN:
            self._begin_close(loop)
        self._drain_until(loop.time() + (drain or 0.0), loop)
        self._carry_out()
        assert self._ended is not None
        await asyncio.shield(self._ended)

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # ---------------------------------------------------------------------------------------------- to look at

    @property
    def state(self) -> State:
        """Where the pool is in its life."""
        return self._life.state

    def statistics(self) -> ConnectionPoolStatistics:
        """A consistent record of this moment."""
        core = self._core
        dialing, idle, leased, closing, _ = core.counts
        waiting, counters = len(core.line), core.counters
        return ConnectionPoolStatistics(
            state=self._life.state,
            max_size=self._options.max_size,
            open=core.open,
            peak_open=core.peak_open,
            dialing=dialing,
            idle=idle,
            leased=leased,
            closing=closing,
            waiting=waiting,
            checking=core.checking,
            attempts=counters.ended + waiting + core.checking,
            **{name: getattr(counters, name) for name in counters.__slots__},
        )

    def __repr__(self) -> str:
        if getattr(self, "_life", None) is None:
            return f"<{type(self).__name__}>"
        return f"<{self._options.name} {self._life.state.name}: {self._core.load()}>"


def _of(entry: Entry[T]) -> T:
    connection: Any = entry.connection
    return connection  # type: ignore[no-any-return]  # None is a connection too, if connect_cb returns it


def _weakly(pool: ConnectionPool[T]) -> Callable[[T], None]:
    """The pool's `rested`, for its core: the core must not keep the pool alive."""
    reference = weakref.ref(pool)

    def rested(connection: T) -> None:
        pool = reference()
        if pool is not None:
            pool.rested(connection)

    return rested
