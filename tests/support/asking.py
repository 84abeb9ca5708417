"""Asks a server's routes without a socket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from multidict import CIMultiDict

from fleetsim.api import make_app
from fleetsim.exchange import Answer, ApiRequest, EventStream, Unary
from fleetsim.profile import Profile

JSON = {"content-type": "application/json"}


def app(profile: Profile | None = None, *, seed: int = 1, index: int = 0, in_flight: int = 1) -> Answer:
    return make_app(profile or Profile(), seed=seed, index=index, in_flight=lambda: in_flight)


def asked(method: str, path: str, body: Any = None, *, headers: Mapping[str, str] = JSON) -> ApiRequest:
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return ApiRequest(method, path, "", CIMultiDict(headers), sent)


async def get(path: str, answer: Answer | None = None, **headers: str) -> Unary:
    reply = await (answer or app())(asked("GET", path, headers=headers))
    assert isinstance(reply, Unary)
    return reply


async def post(path: str, body: Any, answer: Answer | None = None, *, headers: Mapping[str, str] = JSON) -> Unary:
    reply = await (answer or app())(asked("POST", path, body, headers=headers))
    assert isinstance(reply, Unary)
    return reply


async def post_ok(path: str, body: Any, answer: Answer | None = None) -> Any:
    reply = await post(path, body, answer)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


async def refused(path: str, body: Any, answer: Answer | None = None, *, headers: Mapping[str, str] = JSON) -> Any:
    """Return the refusal, as (status, type, param, message)."""
    reply = await post(path, body, answer, headers=headers)
    error = json.loads(reply.body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"] == reply.status
    return reply.status, error["type"], error["param"], error["message"]


async def events(path: str, body: Any, answer: Answer | None = None) -> list[bytes]:
    reply = await (answer or app())(asked("POST", path, body))
    assert isinstance(reply, EventStream), reply
    return [event async for event in reply.events]


async def chunks(path: str, body: Any, answer: Answer | None = None) -> list[Any]:
    """Return the events of a stream as data, the terminator checked and left out."""
    sent = await events(path, body, answer)
    assert sent[-1] == b"data: [DONE]\n\n"
    return [json.loads(event.removeprefix(b"data: ")) for event in sent[:-1]]


def timeless(body: bytes) -> bytes:
    """Return `body` with the time of day taken out."""
    return re.sub(rb'"created":\d+', b'"created":T', body)
