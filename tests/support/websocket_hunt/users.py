"""Those who lend a websocket, talk on it and give it back.

What a user says has its own name in it, so whatever comes back can be told from the answer to somebody else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import ClientError, WSMsgType

from swarmpool import ConnectionPool, MisuseError
from swarmpool.connector import has_unread
from websocket_hunt.steps import Use
from websocket_hunt.witness import Witness

__all__ = ["SpoiltError", "UseFailedError", "User"]

_PATIENCE = 3.0  # seconds a user waits for an answer
_UNREAD_LOOKS = 20


class SpoiltError(Exception):
    """The websocket cannot be talked on any more: a trouble of its own, if there are troubles."""


class UseFailedError(Exception):
    """A block was to end badly, and has."""


class User:
    """One `Use` of a plan."""

    def __init__(self, step: Use, pool: ConnectionPool[Any], witness: Witness, *, realtime: bool) -> None:
        self._step, self._pool, self._witness, self._realtime = step, pool, witness, realtime
        self._said = 0
        self.begins: Callable[[BaseException | None], None] = _nothing
        """Called with None when it has its websocket."""

    async def run(self) -> None:
        """Lend, talk, give back. Raises what the pool raises, SpoiltError, UseFailedError as planned."""
        step = self._step
        if step.how == "with":
            await self._by_block()
        elif step.how == "get":
            await self._by_hand()
        else:
            await self._by_lease()

    async def _by_lease(self) -> None:
        step = self._step
        lease = await self._pool.acquire(step.timeout)
        self._witness.took(self._pool, lease.connection, step.name)
        try:
            await self._talk(lease.connection)
        except BaseException:
            self._witness.gives_back(lease.connection, step.name)
            lease.discard()
            raise
        self._witness.gives_back(lease.connection, step.name)
        if step.end == "badly":
            lease.discard()
        else:
            lease.release()

    async def _by_block(self) -> None:
        step = self._step
        async with self._pool.connection(step.timeout) as websocket:
            self._witness.took(self._pool, websocket, step.name)
            try:
                await self._talk(websocket)
                if step.end == "badly":
                    raise UseFailedError
            finally:
                self._witness.gives_back(websocket, step.name)

    async def _by_hand(self) -> None:
        step, pool = self._step, self._pool
        websocket = await pool.get(step.timeout)
        self._witness.took(pool, websocket, step.name)
        try:
            await self._talk(websocket)
        except BaseException:
            self._witness.gives_back(websocket, step.name)
            pool.remove(websocket)
            raise
        self._witness.gives_back(websocket, step.name)
        if step.end == "badly":
            pool.remove(websocket)
            return
        pool.put(websocket)
        if step.end == "twice":
            with suppress(MisuseError):  # the first one handed it to somebody who has not come to take it
                pool.put(websocket)

    async def _talk(self, websocket: Any) -> None:
        self.begins(None)
        try:
            for _ in range(self._step.times):
                await self._exchange(websocket)
                await asyncio.sleep(self._step.pause)
            if self._step.end == "unread" and self._witness.listens:
                await self._leave_unread(websocket)
        except (ClientError, OSError) as error:  # TimeoutError is one
            raise SpoiltError(repr(error)) from error

    async def _exchange(self, websocket: Any) -> None:
        wanted = await self._say(websocket)
        while True:
            message = await websocket.receive(timeout=_PATIENCE)
            if message.type is not WSMsgType.TEXT:
                raise SpoiltError(str(message.type))
            heard = _heard(message.data) if self._realtime else message.data.rstrip(" ")
            if heard is not None:
                break
        self._witness.must(heard == wanted, f"each message is answered by its own: {wanted!r} got {heard!r}")

    async def _say(self, websocket: Any) -> str:
        self._said += 1
        text = f"{self._step.name}.{self._said}"
        await websocket.send_str(json.dumps({"type": text}) if self._realtime else text)
        return text

    async def _leave_unread(self, websocket: Any) -> None:
        await self._say(websocket)
        for _ in range(_UNREAD_LOOKS):
            await asyncio.sleep(_PATIENCE / _UNREAD_LOOKS)
            if _has_come(websocket):
                return
        raise SpoiltError("no answer to leave unread")


def _heard(text: str) -> str | None:
    """What an event of `/v1/realtime` says of an event that it does not know; None for its greeting."""
    event = json.loads(text)
    return None if event["type"] == "session.created" else str(event["error"]).removeprefix("Unknown event type: ")


def _has_come(websocket: Any) -> bool:
    """Whether something has come that nobody has received."""
    listening = getattr(websocket, "_under_way", None)
    return has_unread(websocket) or (listening is not None and listening.done())


def _nothing(_: BaseException | None) -> None:
    """Nobody wants to know."""
