"""Runs a test in a loop that counts the client's sockets from their first SYN to their last descriptor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fleetsim.proofs.witness import WatchedLoop

__all__ = ["on_watched_loop"]


def on_watched_loop(main: Callable[[WatchedLoop], Coroutine[Any, Any, None]]) -> None:
    """Run `main` in a loop that counts the sockets that connect in it, and resolves the names it is told."""
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, WatchedLoop)
        runner.run(main(loop))
