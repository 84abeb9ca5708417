"""One shard, in its own process: a part of the fleet, which does as it is told over the socket it was given.

`python -m fleetsim.shards.process` expects that socket as its standard input. The first call is `start`, with what the
fleet is to be; `stop` is the last. It ends when `stop` is answered, or the other side of the socket is gone. Its errors
are answers; a bug is a traceback on standard error, and the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fleetsim.certificates import Authority, Parts
from fleetsim.control.driven import Described, DrivenFleet
from fleetsim.errors import FleetError
from fleetsim.faults.scripts import parse_rule
from fleetsim.fleet import Fleet
from fleetsim.profile import Profile
from fleetsim.shards.channel import Answers, Message

__all__ = ["main"]

Handler = Callable[..., Awaitable[Any]]


def main() -> int:
    """Serve until told to stop, or until nobody is left to tell. The process's exit code is returned."""
    asyncio.run(_serve(_taken_from_stdin()))
    return 0


def _taken_from_stdin() -> socket.socket:
    taken = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    # The twin must be the only one, for its end to be seen.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return taken


async def _serve(given: socket.socket) -> None:
    answers = Answers()
    await asyncio.get_running_loop().create_unix_connection(lambda: answers, sock=given)
    try:
        async for message in answers:
            await _be_the_fleet(answers, message)
            return
    finally:
        await answers.close()


async def _be_the_fleet(answers: Answers, start: Message) -> None:
    fleet = _described(start["with"])
    for each in start["with"]["rules"]:
        fleet.faults.arm_any(parse_rule(each["rule"]), number=each["number"])
    stop = None
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(fleet)
        except FleetError as error:
            answers.refuse(start, error)
            return
        answers.answer(start, [] if fleet.paths else [endpoint.port for endpoint in fleet.endpoints])
        stop = await _Desk(fleet, answers).work()
    if stop is not None:
        answers.answer(stop, await DrivenFleet(fleet).figures())


def _described(words: Mapping[str, Any]) -> Fleet:
    options = {key: value for key, value in words.items() if key not in ("profile", "rules", "tls")}
    parts = words.get("tls")
    tls = False if parts is None else Authority(words["host"], parts=Parts(**parts))
    return Fleet(profile=Profile(**words["profile"]), tls=tls, **options)


class _Desk:
    """Answers the calls, all at once."""

    def __init__(self, fleet: Fleet, answers: Answers) -> None:
        self._fleet, self._answers = fleet, answers
        self._driven = driven = DrivenFleet(fleet)
        self._handlers: dict[str, Handler] = {
            "servers": driven.servers,
            "figures": driven.figures,
            "changed": self._changed,
            "rules": driven.rules,
            "arm": self._arm,
            "remove": driven.remove,
            "clear": driven.clear,
        }
        self._running: dict[int, asyncio.Task[None]] = {}

    async def work(self) -> Message | None:
        """Return the call to stop, or None when the fleet is gone."""
        async with asyncio.TaskGroup() as group:
            stop = await self._take_calls(group)
            for task in tuple(self._running.values()):
                task.cancel()
        return stop

    async def _take_calls(self, group: asyncio.TaskGroup) -> Message | None:
        async for message in self._answers:
            number = message["id"]
            if message.get("call") == "stop":
                return message
            if "call" in message:
                self._running[number] = task = group.create_task(self._answer(message))
                task.add_done_callback(partial(self._done, number))
            elif number in self._running:
                self._running[number].cancel()
        return None

    def _done(self, number: int, _: asyncio.Task[None]) -> None:
        del self._running[number]

    async def _answer(self, message: Message) -> None:
        try:
            result = await self._handlers[message["call"]](**message["with"])
        except FleetError as error:
            self._answers.refuse(message, error)
        else:
            self._answers.answer(message, result)

    async def _changed(self, since: Mapping[str, int]) -> Mapping[str, int]:
        return await self._fleet.ledger.changed(since)

    async def _arm(self, number: int, rule: object) -> Described:
        return await self._driven.arm(parse_rule(rule), number=number)


if __name__ == "__main__":
    sys.exit(main())
