"""How a command that runs until it is told to stop is told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

__all__ = ["entered", "told_to_stop"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.asynccontextmanager
async def told_to_stop() -> AsyncIterator[asyncio.Event]:
    """While the context lasts, the event yielded is set by Ctrl-C and by SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def entered(stack: AsyncExitStack, fleet: AbstractAsyncContextManager[object], stop: asyncio.Event) -> bool:
    """Enter `fleet`, to be left with `stack`, unless told to `stop` before it is ready; return whether it was entered.

    Raises what entering raises. Cancelling it cancels the entry.
    """
    entry = asyncio.create_task(stack.enter_async_context(fleet))
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((entry, told), return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        if not entry.done():
            entry.cancel()
            await asyncio.wait((entry,))
    if entry.cancelled():
        return False
    entry.result()
    return True
