from __future__ import annotations

import asyncio

import pytest
from asking import JSON, app, asked, get, post
from virtual_clock import Clock, on_clock

from fleetsim.exchange import ApiRequest, Unary
from fleetsim.profile import Profile

DEV = Profile(server_dev_mode=True)


@pytest.mark.parametrize(("method", "path"), [("POST", "/sleep"), ("POST", "/wake_up"), ("GET", "/is_sleeping")])
async def test_without_the_dev_mode_there_is_no_sleep(method: str, path: str) -> None:
    reply = await app()(asked(method, path))
    assert isinstance(reply, Unary)
    assert reply.status == 404


@pytest.mark.parametrize(("query", "level"), [("", 1), ("level=2", 2), ("level=0&mode=wait", 0)])
async def test_who_sleeps_refuses_what_comes_until_it_is_woken(query: str, level: int) -> None:
    answer = app(DEV)
    assert (await get("/is_sleeping", answer)).body == b'{"is_sleeping":false}'
    slept = await answer(ApiRequest("POST", "/sleep", query, {}, b""))
    assert isinstance(slept, Unary)
    assert slept.body == b'{"status":"sleeping","level":%d}' % level
    assert (await get("/is_sleeping", answer)).body == b'{"is_sleeping":true}'
    assert (await post("/v1/completions", {"prompt": "hi"}, answer)).status == 503
    assert (await get("/health", answer)).status == 200
    woken = await answer(ApiRequest("POST", "/wake_up", "tags=weights&tags=kv_cache", {}, b""))
    assert isinstance(woken, Unary)
    assert woken.body == b'{"status":"awake","tags":["weights","kv_cache"]}'
    assert (await post("/v1/completions", {"prompt": "hi"}, answer)).status == 200


async def test_there_are_three_levels() -> None:
    reply = await app(DEV)(ApiRequest("POST", "/sleep", "level=3", {}, b""))
    assert isinstance(reply, Unary)
    assert (reply.status, b"level: expected 0, 1 or 2, got '3'" in reply.body) == (400, True)


def test_going_to_sleep_aborts_what_runs() -> None:
    answer = app(Profile(server_dev_mode=True, ttft=10, itl=10, output_tokens=5))

    async def scenario(clock: Clock) -> bytes:
        running = asyncio.ensure_future(post("/v1/completions", {"prompt": "hi"}, answer, headers=JSON))
        await asyncio.sleep(25)
        await post("/sleep", None, answer)
        return (await running).body

    body = on_clock(scenario)
    assert b'"finish_reason":"abort"' in body
    assert b'"completion_tokens":2' in body
