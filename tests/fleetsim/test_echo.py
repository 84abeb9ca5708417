from __future__ import annotations

from asking import app, asked

from fleetsim.exchange import ApiRequest, Unary, WebSocket
from fleetsim.profile import Profile


def for_websocket(path: str) -> ApiRequest:
    return ApiRequest("GET", path, "", {}, b"", websocket=True)


async def test_echo_is_a_websocket_and_no_page() -> None:
    assert isinstance(await app()(for_websocket("/echo")), WebSocket)
    plain = await app()(asked("GET", "/echo"))
    assert isinstance(plain, Unary)
    assert (plain.status, plain.body) == (404, b'{"detail":"Not Found"}')


async def test_a_page_is_no_websocket() -> None:
    reply = await app()(for_websocket("/health"))
    assert isinstance(reply, Unary)
    assert (reply.status, reply.body) == (403, b"")


async def test_a_wrong_key_is_refused_before_anything_is_looked_up() -> None:
    guarded = app(Profile(api_key="k"))
    reply = await guarded(for_websocket("/v1/anything"))
    assert isinstance(reply, Unary)
    assert (reply.status, reply.body) == (401, b'{"error":"Unauthorized"}')
    assert isinstance(await guarded(for_websocket("/echo")), WebSocket)
