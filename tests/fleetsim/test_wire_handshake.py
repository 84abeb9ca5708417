from __future__ import annotations

import pytest
from raw_http import Peer, dated
from raw_websocket import ACCEPT, HANDSHAKE, KEY, upgrade

from fleetsim import Fleet
from fleetsim.exchange import Unary
from fleetsim.wire.handshake import accept_key, refused

FAILED = "Failed to open a WebSocket connection: "


def test_the_accept_key_is_the_rfcs() -> None:
    assert accept_key(KEY) == ACCEPT


async def answered(request: bytes) -> bytes:
    """All that a server answers before it ends the connection."""
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(request)
        return dated((await peer.to_the_end()).replace(b"\r\nDate: ", b"\r\ndate: "))


@pytest.mark.parametrize(
    ("request_", "status", "headers", "said"),
    [
        (upgrade(key=None), "400 Bad Request", "", "missing Sec-WebSocket-Key header."),
        (upgrade(key="abc"), "400 Bad Request", "", "invalid Sec-WebSocket-Key header: abc; Incorrect padding."),
        (upgrade(key="!!!"), "400 Bad Request", "",
         "invalid Sec-WebSocket-Key header: !!!; Only base64 data is allowed."),
        (upgrade(key="YWJj"), "400 Bad Request", "", "invalid Sec-WebSocket-Key header: YWJj."),
        (upgrade("/echo", f"sec-websocket-key: {KEY}"), "400 Bad Request", "",
         "invalid Sec-WebSocket-Key header: multiple values."),
        (upgrade(version="8"), "400 Bad Request", "", "invalid Sec-WebSocket-Version header: 8."),
        (upgrade(method="POST"), "405 Method Not Allowed", "Allow: GET\r\n", "unsupported HTTP method: POST."),
    ],
)  # fmt: skip
async def test_a_handshake_that_cannot_be_is_refused_in_uvicorns_words(
    request_: bytes, status: str, headers: str, said: str
) -> None:
    """As recorded from uvicorn 0.54 with websockets 17.4."""
    body = f"{FAILED}{said}\n"
    assert (
        await answered(request_)
        == (
            f"HTTP/1.1 {status}\r\ndate: <date>\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n{headers}\r\n{body}"
        ).encode()
    )


async def test_a_route_that_is_not_there_is_a_403() -> None:
    """Starlette closes before it accepts; as recorded from uvicorn 0.54."""
    assert await answered(upgrade("/health")) == (
        b"HTTP/1.1 403 Forbidden\r\ndate: <date>\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )


def test_a_refusal_of_the_applications_has_its_headers_first() -> None:
    reply = Unary(401, b'{"error":"Unauthorized"}', headers=(("x-why", "key"),))
    head = refused(reply, 24, extra=b"x-fleet-request: 1\r\n")
    assert head.startswith(
        b"HTTP/1.1 401 Unauthorized\r\nx-why: key\r\ncontent-length: 24\r\ncontent-type: application/json\r\nDate: "
    )
    assert head.endswith(b" GMT\r\nConnection: close\r\nx-fleet-request: 1\r\n\r\n")


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade"])
@pytest.mark.parametrize("name", ["websocket", "WebSocket"])
async def test_a_handshake_has_uvicorns_bytes(connection: str, name: str) -> None:
    request = upgrade().replace(b"connection: Upgrade", f"connection: {connection}".encode())
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(request.replace(b"upgrade: websocket", f"upgrade: {name}".encode()))
        assert dated(await peer.until(b"\r\n\r\n")) == HANDSHAKE


async def test_without_connection_upgrade_it_is_a_plain_request_for_a_page_that_is_not_there() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        for request in (upgrade().replace(b"connection: Upgrade\r\n", b""), b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n"):
            await peer.send(request)
            response = await peer.response()
            assert response.startswith(b"HTTP/1.1 404 Not Found\r\n")
            assert response.endswith(b'\r\n\r\n{"detail":"Not Found"}')
