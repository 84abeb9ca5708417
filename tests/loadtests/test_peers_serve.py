"""Each server listens at as many ports as it is asked for, and answers a chat completion at each."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module

import aiohttp
import pytest

from loadtests.bench.peers.ask import body, prompt
from loadtests.bench.peers.installed import SERVERS, field_of

TAKES_PART = field_of(guidellm=None).servers


@pytest.mark.parametrize("kind", [peer.name for peer in SERVERS])
async def test_each_port_answers(kind: str) -> None:
    if kind not in TAKES_PART:
        pytest.skip(f"what {kind} needs is not installed")
    serving: AbstractAsyncContextManager[list[int]] = import_module(f"loadtests.bench.peers.serve_{kind}").serving(3)
    async with serving as ports, aiohttp.ClientSession() as session:
        assert len(set(ports)) == 3
        for port in ports:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            async with session.post(url, json=body(prompt(0))) as response:
                answer = await response.json()
            assert response.status == 200
            assert answer["model"] == "sim"
            assert answer["choices"][0]["message"]["content"]
