"""One load in a simulated world and on loopback: a bare aiohttp session on bare servers, and our pool on our fleet.

Each is played in a process of its own, so that its memory is its own, and says what it took in JSON:
`python -m loadtests.bench.worlds pool simulated '{"agents": 1000}'`.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import aiohttp
from aiohttp import web

import simkernel
from fleetsim import Fleet, Profile
from fleetsim.open_files import raise_open_files
from swarmpool import VLLMPool

__all__ = ["Load", "Taken", "play"]

_PROMPT = "Tell me what a connection pool is for. " * 8
_TOKENS = 64
_BODY = {"model": "sim", "messages": [{"role": "user", "content": _PROMPT}], "max_tokens": _TOKENS}

Send = Callable[[int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Load:
    """`in_flight` users, each asking one of `agents` after the other, by chance, for so many `seconds` of the loop.

    Each asks once at least. An answer takes `latency` seconds. A client keeps an idle connection for `keepalive`, a
    server for a quarter more.
    `segments`: whether a simulation's trace has each of them.
    """

    agents: int = 1_000
    in_flight: int = 512
    seconds: float = 60.0
    latency: float = 10.0
    keepalive: float = 4.0
    segments: bool = True

    @property
    def server_keepalive(self) -> float:
        return self.keepalive * 1.25


@dataclass(frozen=True, slots=True)
class Taken:
    """What a load took, its servers' start and end left out: `seconds` of the loop, `wall` and `cpu` seconds of ours.

    `failed` of the requests had no whole answer, which a loaded machine may come to on loopback: it closes idle
    connections late. `memory` is the most bytes that the whole process had resident.
    """

    requests: int
    failed: int
    seconds: float
    wall: float
    cpu: float
    memory: int

    @property
    def per_second(self) -> float:
        """Requests per wall second."""
        return self.requests / self.wall

    @property
    def speed(self) -> float:
        """Seconds of the loop per wall second."""
        return self.seconds / self.wall

    @property
    def cpu_each(self) -> float:
        """CPU microseconds per request."""
        return self.cpu / self.requests * 1e6


class _Watch:
    """Real time, in a simulation too: a class's own copy of a clock is not replaced."""

    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._wall, self._cpu = self.clock(), time.process_time()
        self._seconds = asyncio.get_running_loop().time()

    def taken(self, requests: int, failed: int) -> Taken:
        seconds = asyncio.get_running_loop().time() - self._seconds
        wall, cpu = self.clock() - self._wall, time.process_time() - self._cpu
        return Taken(requests, failed, seconds, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


async def _send_all(load: Load, send: Send) -> Taken:
    loop, chance = asyncio.get_running_loop(), random.Random("load")
    watch, end = _Watch(), loop.time() + load.seconds

    async def user(after: float) -> list[bool]:
        await asyncio.sleep(after)  # spread over one answer's time: users in step would ask all at once
        answered: list[bool] = []
        while not answered or loop.time() < end:
            answered.append(await send(chance.randrange(load.agents)))
        return answered

    users = [user(load.latency * chance.random()) for _ in range(load.in_flight)]
    answered = [each for one in await asyncio.gather(*users) for each in one]
    return watch.taken(len(answered), answered.count(False))


async def _answer() -> bytes:
    """What the fleet answers, for the bare servers to send as many bytes."""
    async with (
        Fleet(1) as fleet,
        aiohttp.ClientSession() as session,
        session.post(f"{fleet.base_urls[0]}/chat/completions", json=_BODY) as response,
    ):
        return await response.read()


@asynccontextmanager
async def _bare_servers(load: Load) -> AsyncIterator[list[str]]:
    """aiohttp's low-level servers, which read each request, wait and answer; yields their URLs."""
    answer = await _answer()

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        await asyncio.sleep(load.latency)
        return web.Response(body=answer, content_type="application/json")

    loop = asyncio.get_running_loop()
    servers = [web.Server(handle, keepalive_timeout=load.server_keepalive) for _ in range(load.agents)]
    listening = [await loop.create_server(server, "127.0.0.1", 0) for server in servers]
    try:
        yield [f"http://127.0.0.1:{each.sockets[0].getsockname()[1]}/v1/chat/completions" for each in listening]
    finally:
        for each, server in zip(listening, servers, strict=True):
            each.close()
            await server.shutdown(0)
            await each.wait_closed()


async def _bare(load: Load) -> Taken:
    connector = aiohttp.TCPConnector(limit=load.in_flight, keepalive_timeout=load.keepalive)
    async with _bare_servers(load) as urls, aiohttp.ClientSession(connector=connector) as session:

        async def send(agent: int) -> bool:
            try:
                async with session.post(urls[agent], json=_BODY) as response:
                    response.raise_for_status()
                    return bool((await response.json())["choices"][0]["message"]["content"])
            except aiohttp.ClientError:
                return False

        return await _send_all(load, send)


async def _pooled(load: Load) -> Taken:
    profile = Profile(ttft=load.latency, keepalive_timeout=load.server_keepalive)
    async with (
        Fleet(load.agents, profile=profile) as fleet,
        VLLMPool(
            fleet.endpoints,
            model="sim",
            concurrency=load.in_flight,
            connector_limit=load.in_flight + load.agents,  # idle ones count here, and not against aiohttp's own limit
            keepalive_timeout=load.keepalive,
        ) as pool,
    ):

        async def send(agent: int) -> bool:
            return (await pool.post(agent, _PROMPT, _TOKENS)).success

        return await _send_all(load, send)


_CONTESTANTS: dict[str, Callable[[Load], Awaitable[Taken]]] = {"bare": _bare, "pool": _pooled}


def _play_here(contestant: str, world: str, load: Load) -> Taken:
    play_in = _CONTESTANTS[contestant]

    async def main(_: object = None) -> Taken:
        return await play_in(load)

    if world == "loopback":
        raise_open_files(load.agents + 2 * load.in_flight)
        return asyncio.run(main())
    taken: simkernel.Result[Taken] = simkernel.run(main, segments=load.segments)
    assert taken.value is not None
    return taken.value


def play(contestant: str, world: str, load: Load) -> Taken:
    """Play it in a new process. `contestant` is "bare" or "pool", `world` "simulated" or "loopback".

    Raises subprocess.CalledProcessError when it fails; what it says of that goes to stderr.
    """
    command = [sys.executable, "-m", "loadtests.bench.worlds", contestant, world, json.dumps(asdict(load))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Taken(**json.loads(output))


if __name__ == "__main__":
    print(json.dumps(asdict(_play_here(sys.argv[1], sys.argv[2], Load(**json.loads(sys.argv[3]))))))
