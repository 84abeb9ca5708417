"""Each client sends the same request, reads the same answer, and says alike that it has failed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import web

from loadtests.bench.peers.ask import Client, Failed, body, prompt
from loadtests.bench.peers.bare_answer import bare_answer
from loadtests.bench.peers.installed import CLIENTS


@pytest.fixture(params=[peer.name for peer in CLIENTS])
def client(request: pytest.FixtureRequest) -> Client:
    name = request.param
    if name != "swarmpool" and find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    asker: Client = import_module(f"loadtests.bench.peers.ask_{name}").Asker()
    return asker


class Server:
    """Answers every request with `answer`, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = bare_answer("sim")
        self.status = 200

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((request.path, json.loads(await request.read())))
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def opened(client: Client, server: Server) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(server))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        await client.open([f"http://{host}:{port}"])
        yield
    finally:
        await client.close()
        for made in getattr(client, "_made", ()):
            await made.close()
        await runner.cleanup()


async def test_all_ask_the_same_and_read_the_same(client: Client) -> None:
    server = Server()
    async with opened(client, server):
        text = await client.ask(0, prompt(7))
    assert text == bare_answer("sim")["choices"][0]["message"]["content"]
    assert server.asked == [("/v1/chat/completions", body(prompt(7)))]


@pytest.mark.parametrize(("status", "answer"), [(503, {"error": "busy"}), (200, {"choices": []})])
async def test_whatever_is_no_answer_is_a_failure_and_is_not_asked_again(
    client: Client, status: int, answer: object
) -> None:
    server = Server()
    server.status, server.answer = status, answer
    async with opened(client, server):
        with pytest.raises(Failed):
            await client.ask(0, prompt(0))
    assert len(server.asked) == 1


def test_prompts_differ_by_number_alone() -> None:
    assert prompt(3) == prompt(3) != prompt(4)
    assert len(prompt(3)) == len(prompt(4))
