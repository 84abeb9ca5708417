"""Servers in a process of their own, for whatever is to be measured without them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["bare_server", "serving"]

_START_SECONDS = 30.0


@asynccontextmanager
async def serving(kind: str, size: int) -> AsyncIterator[list[int]]:
    """`size` servers of a kind ("fleet") in a child process; yields their ports."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.bench.servers", kind, str(size), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        line = await asyncio.wait_for(child.stdout.readline(), _START_SECONDS)
        yield [int(port) for port in line.split()]
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        await child.wait()


@asynccontextmanager
async def bare_server(body: bytes) -> AsyncIterator[int]:
    """aiohttp's low-level server, which reads each request and answers `body`; yields its port."""

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    server = web.Server(handle)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await server.shutdown(0)
        await listening.wait_closed()


async def _serve(size: int) -> None:
    from fleetsim import Fleet  # noqa: PLC0415 - only the child needs it

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with Fleet(size) as fleet:
        print(*(server.endpoint.port for server in fleet), flush=True)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[2])))
