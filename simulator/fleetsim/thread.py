"""A loop in a thread of its own, for synchronous code; and what such code enters and leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from fleetsim.errors import FleetError

__all__ = ["LoopThread", "Threaded"]

T = TypeVar("T")


class LoopThread:
    """An event loop running in a daemon thread from construction to `stop`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop, and return or raise what it does. Blocks; not for the loop's own thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C strikes the waiting thread, not the work.
            future.cancel()
            raise

    def stop(self) -> None:
        """Stop the loop, wait for the thread, and close the loop. Once."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


class Threaded:
    """What is entered with `async with` may be entered with a plain `with` too, in a thread of its own."""

    _thread: LoopThread | None = None

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start the fleet in a thread of its own. Raises what `async with` raises, and FleetError in a running loop."""
        if _is_loop_running():
            raise FleetError(f"an event loop is running here: use `async with {type(self).__name__}(...)`")
        return self.start_in_thread()

    def start_in_thread(self) -> Self:
        """What a plain `with` does on entry, wherever it is called: in a running loop it blocks it for the while.

        Raises what `async with` raises. Leaving is `__exit__`'s.
        """
        thread = LoopThread("fleetsim")
        try:
            thread.run(self.__aenter__())
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.run(self.__aexit__(kind, error, traceback))
            finally:
                thread.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the fleet from synchronous code: `fleet.run(fleet[0].drain())`.

        Returns or raises what it does. Raises FleetError unless the fleet was entered with a plain `with`.
        """
        if self._thread is None:
            work.close()
            raise FleetError("only a fleet entered with a plain `with` has a loop of its own to run this in")
        return self._thread.run(work)


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
