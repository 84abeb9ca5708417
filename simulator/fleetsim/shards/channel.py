"""Calls and answers between a fleet and a shard: JSON messages over a socket pair, each after its length.

    {"id": 7, "call": "arm", "with": {...}}             to the shard
    {"id": 7, "cancel": true}                           to the shard: nobody waits for this answer any more
    {"id": 7, "result": ...}                            back
    {"id": 7, "error": "RuleError", "with": [...]}      back: an error of the fleet's, and what makes it again

Calls may overlap, and are answered in any order.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import Mapping
from typing import Any, cast

from fleetsim import errors
from fleetsim.errors import BindError, ControlError, FleetError

__all__ = ["Answers", "Calls", "Message"]

Message = dict[str, Any]

_LENGTH = struct.Struct("!I")


class _Messages(asyncio.Protocol):
    """Cuts what arrives into messages. `over` is set when the other side is gone, or this one has closed."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._arrived = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's derive from nothing

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        while len(self._arrived) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._arrived)[0]
            if len(self._arrived) < end:
                return
            message = json.loads(self._arrived[_LENGTH.size : end])
            del self._arrived[:end]
            self.took(message)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # however it went, it is over
        self.over.set()

    def send(self, message: Message) -> None:
        """Send it, or nothing when the other side is gone."""
        if self._transport is not None and not self.over.is_set():
            body = json.dumps(message).encode()
            self._transport.write(_LENGTH.pack(len(body)) + body)

    def took(self, message: Message) -> None:
        """A whole message has arrived."""
        raise NotImplementedError

    async def close(self) -> None:
        """Send what is still to be sent, and return when the socket is closed. May be called again."""
        if self._transport is not None:
            self._transport.close()
            await self.over.wait()


class Calls(_Messages):
    """The fleet's side. Any number of calls may wait at once."""

    def __init__(self, whose: str) -> None:
        super().__init__()
        self._whose = whose
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def call(self, name: str, words: Mapping[str, object]) -> Any:
        """Return what the shard answers, or raise its error; ControlError when the shard is gone, or goes meanwhile.

        Cancelling it cancels the work in the shard.
        """
        if self.over.is_set():
            raise self._gone()
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send({"id": number, "call": name, "with": words})
        try:
            return await answer
        except asyncio.CancelledError:
            self.send({"id": number, "cancel": True})
            raise
        finally:
            del self._waiting[number]

    def took(self, message: Message) -> None:
        answer = self._waiting.get(message["id"])
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(_made_again(message))
        else:
            answer.set_result(message["result"])

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._gone())

    def _gone(self) -> ControlError:
        return ControlError(f"{self._whose} is gone, and cannot be asked")


class Answers(_Messages):
    """The shard's side: an asynchronous iterator of what the fleet sends, which ends with the fleet."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: asyncio.Queue[Message | None] = asyncio.Queue()

    def took(self, message: Message) -> None:
        self._taken.put_nowait(message)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._taken.put_nowait(None)

    def __aiter__(self) -> Answers:
        return self

    async def __anext__(self) -> Message:
        message = await self._taken.get()
        if message is None:
            raise StopAsyncIteration
        return message

    def answer(self, message: Message, result: object) -> None:
        """Answer `message`, a call."""
        self.send({"id": message["id"], "result": result})

    def refuse(self, message: Message, error: FleetError) -> None:
        """Let `message`, a call, raise `error` where it was made."""
        made_of = [error.host, error.port, error.reason] if isinstance(error, BindError) else [str(error)]
        self.send({"id": message["id"], "error": type(error).__name__, "with": made_of})


def _made_again(message: Message) -> FleetError:
    made = getattr(errors, message["error"])(*message["with"])
    assert isinstance(made, FleetError)
    return made
