"""A client in a process of its own: `python -m loadtests.bench.peers.client_process NAME`.

Answers `open` (be made for a server and ask each agent once, which opens the connections), `run` (ask, and say what it
cost) and `close`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TextIO

from loadtests.bench.peers.ask import CONCURRENT, Client, Failed, prompt
from loadtests.bench.peers.child import answer_lines, memory, run_child
from loadtests.bench.peers.lag import Lag

__all__ = ["Asking"]


class Asking:
    """A client at work. `dials` counts what this process has tried to connect."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._agents = 0
        self._opened_before = False
        self._lag = Lag()
        self.dials = 0

    def audit(self, event: str, _: tuple[Any, ...]) -> None:
        """The hook that counts."""
        self.dials += event == "socket.connect"

    async def open(self, urls: Sequence[str], requests: int, seconds: float) -> dict[str, Any]:
        """Make the client and send what nobody measures, as `run` does.

        Returns seconds for the making, None if it was moved, and how many requests were sent and failed.
        """
        begun = time.perf_counter()
        await self._client.open(urls)
        made = time.perf_counter() - begun
        self._agents = len(urls)
        moved, self._opened_before = self._client.made_once and self._opened_before, True
        sent = await self._send(requests, seconds)
        return {"made": None if moved else made, **sent}

    async def run(self, requests: int, seconds: float) -> dict[str, Any]:
        """Send `requests`, or as many as `seconds` allow; how many, how many failed, and what it has cost.

        That is: seconds, seconds of CPU and of lateness, bytes, and connections opened.
        """
        self._lag.begin()
        dials, cpu, begun = self.dials, time.process_time(), time.perf_counter()
        sent = await self._send(requests, seconds)
        spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
        lag = await self._lag.end()
        return {**sent, "seconds": spent, "cpu": cpu, "lag": lag, "memory": memory(), "opened": self.dials - dials}

    async def close(self) -> dict[str, Any]:
        """Close the client."""
        await self._client.close()
        return {}

    async def _send(self, requests: int, seconds: float) -> dict[str, Any]:
        until = time.perf_counter() + seconds
        failures: list[str] = []
        numbers = itertools.takewhile(lambda _: time.perf_counter() < until, range(requests))
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in numbers:
                sent += 1
                try:
                    await self._client.ask(number % self._agents, prompt(number))
                except Failed as failed:
                    failures.append(str(failed))

        await asyncio.gather(*(send() for _ in range(CONCURRENT)))
        return {"requests": sent, "failures": len(failures), "why": failures[0] if failures else ""}


async def _ask(out: TextIO) -> None:
    begun = time.perf_counter()
    client: Client = import_module(f"loadtests.bench.peers.ask_{sys.argv[1]}").Asker()
    asking = Asking(client)
    sys.addaudithook(asking.audit)
    imported = {"imported": time.perf_counter() - begun}
    await answer_lines(out, imported, {"open": asking.open, "run": asking.run, "close": asking.close})


if __name__ == "__main__":
    run_child(_ask, fast=False)
