"""A bare aiohttp app: one application with one route, at as many ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from loadtests.bench.peers.bare_answer import bare_answer

__all__ = ["serving"]


async def _chat(request: web.Request) -> web.Response:
    asked = await request.json()
    return web.json_response(bare_answer(asked["model"]))


@asynccontextmanager
async def serving(agents: int) -> AsyncIterator[list[int]]:
    """`agents` ports of one app; yields them."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        for _ in range(agents):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield [address[1] for address in runner.addresses]
    finally:
        await runner.cleanup()
