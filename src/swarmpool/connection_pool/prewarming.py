"""What `prewarm` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from swarmpool.errors import ConnectFailed, PoolClosed

__all__ = ["Prewarming"]


class Prewarming:
    """The dials of one `prewarm`. It goes on whether or not anybody awaits it, and fails silently if nobody does.

    Awaiting it returns when the last dial has connected, and raises ConnectFailed when one could not, or PoolClosed.
    Cancelling the awaiting task does not stop the dials. It may be awaited often and by many at once.
    """

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def done(self) -> bool:
        """Whether it is over, well or badly."""
        return self._future.done()

    def finish(self, error: BaseException | None) -> None:
        """For the pool: it is over."""
        if error is None:
            self._future.set_result(None)
            return
        if not isinstance(error, PoolClosed):
            failure = ConnectFailed(f"prewarm could not connect: {type(error).__name__}")
            failure.__cause__, error = error, failure
        self._future.set_exception(error)
        self._future.exception()  # seen: asyncio must not complain when nobody awaits it

    def __await__(self) -> Generator[object, None, None]:
        return asyncio.shield(self._future).__await__()

    def __repr__(self) -> str:
        if not self._future.done():
            return "<Prewarming, dialing>"
        return f"<Prewarming, {'failed' if self._future.exception() else 'done'}>"
