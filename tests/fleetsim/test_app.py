from __future__ import annotations

import asyncio
import gc
import json
import sys

import pytest
from asking import app, asked, get, post, post_ok
from virtual_clock import Clock, on_clock

from fleetsim.api import make_app
from fleetsim.exchange import ApiRequest, EventStream, Unary
from fleetsim.profile import Profile

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
LOCKED = app(Profile(api_key="s3cret"))


async def test_a_path_that_is_not_there_is_404_in_fastapis_words() -> None:
    reply = await get("/v1/nothing")
    assert (reply.status, reply.body) == (404, b'{"detail":"Not Found"}')


async def test_a_slash_too_many_is_redirected() -> None:
    reply = await app()(ApiRequest("POST", "/v1/completions/", "a=1", {"host": "x:8000"}, b""))
    assert isinstance(reply, Unary)
    assert (reply.status, reply.body, reply.content_type) == (307, b"", None)
    assert reply.headers == (("location", "http://x:8000/v1/completions?a=1"),)
    assert (await get("/v1/nothing/")).status == (await get("/")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/completions", "POST"),
        ("HEAD", "/health", "GET"),
        ("HEAD", "/v1/models", "GET"),
        ("DELETE", "/ping", "GET"),
        ("OPTIONS", "/generate", "POST"),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_is_right(method: str, path: str, allow: str) -> None:
    reply = await app()(asked(method, path))
    assert isinstance(reply, Unary)
    assert (reply.status, reply.body) == (405, b'{"detail":"Method Not Allowed"}')
    assert reply.headers == (("allow", allow),)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/v2/embed"])
@pytest.mark.parametrize("key", ["", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret ", "Bearer \udcff"])
async def test_a_wrong_key_is_401_with_a_string_for_an_error(path: str, key: str) -> None:
    reply = await get(path, LOCKED, authorization=key)
    assert (reply.status, reply.body) == (401, b'{"error":"Unauthorized"}')


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_right_key_is_let_in(scheme: str) -> None:
    assert (await get("/v1/models", LOCKED, authorization=f"{scheme} s3cret")).status == 200


@pytest.mark.parametrize("path", ["/health", "/version", "/load", "/ping"])
async def test_only_the_api_itself_is_locked(path: str) -> None:
    assert (await get(path, LOCKED)).status == 200


async def test_the_same_seed_gives_the_same_answers_ids_included() -> None:
    bodies = [await post("/v1/completions", {"prompt": "hi"}, app(seed=3, index=2)) for _ in range(2)]
    ids = [json.loads(reply.body)["id"] for reply in bodies]
    assert ids[0] == ids[1]
    other = json.loads((await post("/v1/completions", {"prompt": "hi"}, app(seed=3, index=1))).body)
    assert other["id"] != ids[0]


async def test_words_depend_on_seed_and_prompt_and_not_on_the_server() -> None:
    async def said(seed: int, index: int, prompt: str) -> str:
        answer = await post_ok("/v1/completions", {"prompt": prompt}, app(seed=seed, index=index))
        return str(answer["choices"][0]["text"])

    assert await said(1, 0, "hi") == await said(1, 7, "hi")
    assert len({await said(1, 0, "hi"), await said(2, 0, "hi"), await said(1, 0, "ho")}) == 3


async def test_cancelling_a_unary_answer_stops_its_generation() -> None:
    slow = app(Profile(ttft=1_000))
    task = asyncio.ensure_future(slow(asked("POST", "/v1/chat/completions", CHAT)))
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_stream_is_there_before_its_first_token_and_may_be_closed() -> None:
    slow = app(Profile(ttft=1_000))
    reply = await slow(asked("POST", "/v1/chat/completions", CHAT | {"stream": True}))
    assert isinstance(reply, EventStream)
    task = asyncio.ensure_future(anext(reply.events))
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_the_role_comes_with_the_first_token_and_the_rest_as_time_goes_on() -> None:
    async def scenario(clock: Clock) -> list[float]:
        brisk = app(Profile(ttft=2, itl=1, output_tokens=3))
        start = clock.time()
        reply = await brisk(asked("POST", "/v1/chat/completions", CHAT | {"stream": True}))
        assert isinstance(reply, EventStream)
        return [clock.time() - start async for _ in reply.events]

    assert on_clock(scenario) == [2, 2, 3, 4, 4]


async def test_no_headers_at_all_is_no_json() -> None:
    reply = await app()(ApiRequest("POST", "/generate", "", {}, b"{}"))
    assert isinstance(reply, Unary)
    assert reply.status == 400


async def test_a_thousand_servers_share_what_they_can() -> None:
    profile = Profile(model="shared")
    make_app(profile, seed=0, index=0, in_flight=int)
    gc.collect()
    before = sys.getallocatedblocks()
    apps = [make_app(profile, seed=0, index=index, in_flight=int) for index in range(1_000)]
    assert (sys.getallocatedblocks() - before) / len(apps) < 10
