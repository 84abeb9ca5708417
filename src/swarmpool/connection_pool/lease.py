"""What `acquire` returns: one connection, for one caller, until that caller gives it back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from swarmpool.errors import LeaseEnded

if TYPE_CHECKING:
    from swarmpool.connection_pool.pool import ConnectionPool
    from swarmpool.connection_pool.states import Entry

__all__ = ["Borrowing", "Lease"]

T = TypeVar("T")


class Lease(Generic[T]):
    """The right to use `connection`, which nobody else has until the lease ends.

    It ends once: by `release`, by `discard`, by leaving `async with` (released if the block ended well, discarded if it
    raised anything), or when the pool is closed under it. `reused` says whether the connection was there before, and
    may have died unseen, or comes fresh from its dial; `wait_seconds` how long this caller waited for it.
    """

    __slots__ = ("_ended", "_entry", "_pool", "_turn", "connection", "reused", "wait_seconds")

    def __init__(self, pool: ConnectionPool[T], entry: Entry[T], connection: T, wait_seconds: float) -> None:
        self.connection = connection
        self.reused = entry.reused
        self.wait_seconds = wait_seconds
        self._pool = pool
        self._entry = entry
        self._turn = entry.turn
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether it has been released or discarded."""
        return self._ended

    def release(self) -> None:
        """Give the connection back for the next caller; it is closed instead if it is past its time.

        Raises LeaseEnded if the lease has ended before. After the pool was closed it does nothing.
        """
        self._end()
        self._pool._end_turn(self._entry, self._turn, usable=True)  # noqa: SLF001 - a lease is a part of its pool

    def discard(self) -> None:
        """Give the connection back to be closed, because it cannot serve again. Raises LeaseEnded as `release` does."""
        self._end()
        self._pool._end_turn(self._entry, self._turn, usable=False)  # noqa: SLF001 - a lease is a part of its pool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if exc_type is None:
            self.release()
        else:
            self.discard()

    def _end(self) -> None:
        if self._ended:
            raise LeaseEnded(f"the lease of connection {self._entry.number} has ended; acquire another one")
        self._ended = True

    def __repr__(self) -> str:
        end = ", ended" if self._ended else ""
        return f"<Lease of connection {self._entry.number}, {'reused' if self.reused else 'new'}{end}>"


class Borrowing(Generic[T]):
    """What `connection` returns: `async with` it, once, to have a connection until the block ends."""

    __slots__ = ("_entry", "_pool", "_timeout", "_turn")

    def __init__(self, pool: ConnectionPool[T], timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._entry: Entry[T] | None = None
        self._turn = 0

    async def __aenter__(self) -> T:
        if self._entry is not None:
            raise LeaseEnded("pool.connection() can be entered once; call it again for another connection")
        entry, _ = await self._pool._obtain(self._timeout)  # noqa: SLF001 - it is a part of its pool
        self._entry, self._turn = entry, entry.turn
        entry.guarded = False  # the block may put or remove its connection itself, as the model's users do
        return cast(T, entry.connection)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._entry is not None
        self._pool._end_turn(self._entry, self._turn, usable=exc_type is None)  # noqa: SLF001 - it is a part of its pool
