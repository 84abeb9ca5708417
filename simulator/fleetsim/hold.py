"""A hold keeps answers back, so that a test can look at a fleet in mid-flight without sleeping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self, Unpack

from fleetsim.ledger import Figures, Ledger

__all__ = ["Hold"]


class Hold:
    """A context manager: while it is open, requests to the `held` servers are read and counted, and not answered.

    Entering and leaving it is allowed from any thread. Each may be used once.
    """

    def __init__(self, held: Sequence[list[Hold]], ledger: Ledger) -> None:
        self._held, self._ledger = held, ledger
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._over = False

    def __enter__(self) -> Self:
        for holds in self._held:
            holds.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let everything held go on. Calling it again does nothing."""
        with self._lock:
            self._over = True
            waiting, self._waiting = self._waiting, []
        for holds in self._held:
            if self in holds:
                holds.remove(self)
        for loop, event in waiting:
            # A loop that is closed has cancelled everything that waited in it.
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def released(self) -> None:
        """Return when the hold is over. Cancelling it releases nothing; any number may wait."""
        event = asyncio.Event()
        with self._lock:
            if self._over:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()

    async def wait_for(self, *, timeout: float | None = 5.0, **figures: Unpack[Figures]) -> None:
        """`Ledger.wait_for` on what is held: `await hold.wait_for(in_flight=8)`."""
        await self._ledger.wait_for(timeout=timeout, **figures)

    def wait_for_sync(self, *, timeout: float | None = 5.0, **figures: Unpack[Figures]) -> None:
        """`Ledger.wait_for_sync` on what is held, for code without a loop."""
        self._ledger.wait_for_sync(timeout=timeout, **figures)
