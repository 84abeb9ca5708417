"""One shard, seen from the fleet: a child process, and the calls it answers.

Guarantees. While it serves, its ports are known and all its servers listen. When it is lost or ended, its process has
been waited for, and nothing of it is left. A shard whose start fails, or is cancelled, has no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from fleetsim.errors import ControlError, FleetError, IllegalMoveError
from fleetsim.shards.channel import Calls

__all__ = ["Shard", "ShardState"]

# How long a shard may take to end before it is killed, in seconds: a fleet that is told to end has two.
END_GRACE = 1.5


class ShardState(enum.Enum):
    """Where a shard is in its life."""

    DOWN = "down"
    STARTING = "starting"
    SERVING = "serving"
    LOST = "lost"
    ENDED = "ended"


_LEGAL_MOVES = {
    ShardState.DOWN: {ShardState.STARTING, ShardState.ENDED},
    ShardState.STARTING: {ShardState.SERVING, ShardState.LOST},
    ShardState.SERVING: {ShardState.LOST, ShardState.ENDED},
    ShardState.LOST: {ShardState.STARTING, ShardState.ENDED},
    ShardState.ENDED: set[ShardState](),
}


class Shard:
    """The part of a fleet that has the `servers`, in a process of its own. All calls are for the fleet's loop."""

    def __init__(self, number: int, servers: range) -> None:
        self.number, self.servers = number, servers
        self.state = ShardState.DOWN
        self.ports: tuple[int, ...] | None = None
        self.last_figures: dict[str, Any] | None = None
        self._calls: Calls | None = None
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"<Shard {self.number} {self.state.value}, {self.span}, process {self.pid}>"

    def __str__(self) -> str:
        return f"shard {self.number} ({self.span}, process {self.pid})"

    @property
    def span(self) -> str:
        """Its servers in words: `servers 0 to 1999`."""
        first, last = self.servers[0], self.servers[-1]
        return f"server {first}" if first == last else f"servers {first} to {last}"

    @property
    def pid(self) -> int | None:
        """Its process, the last one if that has ended; None before there is one."""
        return None if self._process is None else self._process.pid

    async def start(self, words: Mapping[str, object]) -> None:
        """Start a process that is what `words` say, and return when all its servers listen.

        Raises what `Fleet` raises on entry, and FleetError when the process ends instead. After that, and when it is
        cancelled, there is no process.
        """
        self._move(ShardState.STARTING)
        try:
            self._calls = await self._spawn()
            self.ports = tuple(await self._ready(self._calls, words))
        except BaseException:
            await self._kill()
            self._move(ShardState.LOST)
            raise
        self._move(ShardState.SERVING)

    async def _ready(self, calls: Calls, words: Mapping[str, object]) -> list[int]:
        try:
            ports: list[int] = await calls.call("start", words)
        except ControlError as error:
            assert self._process is not None
            how = _in_words(await self._process.wait())
            raise FleetError(f"{self} {how}, before it was ready") from error
        return ports

    async def call(self, name: str, **words: object) -> Any:
        """Return what the shard answers. Raises FaultError when it refuses, ControlError when it does not serve.

        Any number may call at once. Cancelling it cancels the work in the shard.
        """
        if self.state is not ShardState.SERVING or self._calls is None:
            raise ControlError(f"{self} is {self.state.value}, and cannot be asked")
        return await self._calls.call(name, words)

    async def lost(self) -> str:
        """Return how its process ended, as soon as it has: `was killed by SIGKILL`. Cancelling it changes nothing."""
        assert self._process is not None  # only a shard that serves can be lost
        code = await self._process.wait()
        await self._forget()
        self._move(ShardState.LOST)
        return _in_words(code)

    async def end(self) -> None:
        """End all connections, then the process, by force if it does not in 1.5 s; keep its last figures.

        In every state but STARTING. Cancelling it kills the process.
        """
        try:
            if self.state is ShardState.SERVING:
                await self._stop()
        finally:
            await self._kill()
            self._move(ShardState.ENDED)

    async def _stop(self) -> None:
        assert self._process is not None
        assert self._calls is not None
        # Whatever comes in between, it is killed next.
        with contextlib.suppress(TimeoutError, ControlError):
            async with asyncio.timeout(END_GRACE):
                self.last_figures = await self._calls.call("stop", {})
                await self._process.wait()

    async def _spawn(self) -> Calls:
        calls = Calls(f"shard {self.number}")
        ours, theirs = socket.socketpair()
        with theirs:
            await asyncio.get_running_loop().create_unix_connection(lambda: calls, sock=ours)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "fleetsim.shards.process"),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    start_new_session=True,
                )
            except BaseException as error:
                await calls.close()
                if isinstance(error, OSError):
                    raise FleetError(f"shard {self.number}: no process could be started: {error.strerror}") from error
                raise
        return calls

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and asyncio is yet to hear of it
                self._process.kill()
            await self._process.wait()
        await self._forget()

    async def _forget(self) -> None:
        calls, self._calls = self._calls, None
        if calls is not None:
            await calls.close()

    def _move(self, state: ShardState) -> None:
        if state not in _LEGAL_MOVES[self.state]:
            raise IllegalMoveError(f"shard {self.number} cannot go from {self.state.value} to {state.value}")
        self.state = state


def _in_words(code: int) -> str:
    if code >= 0:
        return f"ended, with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
