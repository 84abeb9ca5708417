from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from swarmpool.failures import WIRE_ERRORS, failure_of, message_of
from swarmpool.responses import FailureKind

KEY = cast(ConnectionKey, SimpleNamespace(host="node7", port=8000, ssl=True, is_ssl=False))
SECRET = "Bearer sk-secret"
REQUEST = aiohttp.RequestInfo(
    URL("http://node7:8000/generate"),
    "POST",
    CIMultiDictProxy(CIMultiDict({"Authorization": SECRET})),
    URL("http://node7:8000/generate"),
)


def refused(number: int, text: str = "what the system says") -> OSError:
    return OSError(number, text)


ERRORS: list[tuple[BaseException, FailureKind]] = [
    (aiohttp.ClientConnectorError(KEY, refused(errno.ECONNREFUSED)), FailureKind.CONNECT),
    (aiohttp.ClientConnectorError(KEY, refused(errno.EHOSTUNREACH)), FailureKind.CONNECT),
    (aiohttp.InvalidUrlClientError("http://127.1:8000"), FailureKind.CONNECT),
    (aiohttp.ConnectionTimeoutError("Connection timeout to host"), FailureKind.CONNECT_TIMEOUT),
    (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")), FailureKind.DNS),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake failure")), FailureKind.TLS),
    (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("self-signed")), FailureKind.TLS),
    (aiohttp.ClientConnectorError(KEY, refused(errno.EMFILE)), FailureKind.DESCRIPTORS),
    (aiohttp.ClientConnectorError(KEY, refused(errno.ENFILE)), FailureKind.DESCRIPTORS),
    (refused(errno.EMFILE), FailureKind.DESCRIPTORS),
    (aiohttp.ServerDisconnectedError(), FailureKind.DISCONNECTED),
    (aiohttp.ClientConnectionError("Connection closed"), FailureKind.DISCONNECTED),
    (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), FailureKind.DISCONNECTED),
    (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"), FailureKind.RESET),
    (aiohttp.ClientOSError(errno.EPIPE, "Broken pipe"), FailureKind.RESET),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), FailureKind.RESET),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), FailureKind.RESET),
    (aiohttp.ClientPayloadError("Response payload is not completed"), FailureKind.TRUNCATED),
    (aiohttp.ClientResponseError(REQUEST, (), status=400, message="Bad status line"), FailureKind.PROTOCOL),
    (aiohttp.ClientError("something new"), FailureKind.PROTOCOL),
    (aiohttp.SocketTimeoutError("Timeout on reading data from socket"), FailureKind.TIMEOUT),
    (aiohttp.ServerTimeoutError(), FailureKind.TIMEOUT),
    (TimeoutError(), FailureKind.TIMEOUT),
    (refused(errno.ENETDOWN), FailureKind.CONNECT),
]


@pytest.mark.parametrize(
    ("error", "kind"), ERRORS, ids=[f"{number}-{type(error).__name__}" for number, (error, _) in enumerate(ERRORS)]
)
def test_each_error_of_the_wire_has_its_kind_and_a_sentence(error: BaseException, kind: FailureKind) -> None:
    found, message = failure_of(error)
    assert found is kind
    assert message.strip()
    assert str(error) in message


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert failure_of(TimeoutError()) == (FailureKind.TIMEOUT, "TimeoutError")
    assert failure_of(TimeoutError("late"))[1] == "TimeoutError: late"


def test_running_out_of_descriptors_says_what_to_do() -> None:
    _, message = failure_of(aiohttp.ClientConnectorError(KEY, refused(errno.EMFILE, "Too many open files")))
    assert message.endswith(
        "[Too many open files]; raise the limit on open files (`ulimit -n`) or lower connector_limit"
    )


def test_no_header_of_the_request_shows_in_a_message() -> None:
    for error in (
        aiohttp.ClientResponseError(REQUEST, (), status=400, message="Bad status line"),
        aiohttp.ContentTypeError(REQUEST, (), message="not JSON"),
    ):
        assert SECRET not in failure_of(error)[1]


@pytest.mark.parametrize("ours", [asyncio.CancelledError, ValueError, KeyError, AssertionError, RuntimeError])
def test_what_is_a_bug_of_ours_or_a_cancellation_is_no_error_of_the_wire(ours: type[BaseException]) -> None:
    assert not issubclass(ours, WIRE_ERRORS)


# ------------------------------------------------------------------------------------------------ error bodies


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "out of memory", "type": "InternalServerError", "code": 500}}, "out of memory"),
        ({"error": "slow down"}, "slow down"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"error": {"detail": "nothing here"}}, "nothing here"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, '[{"loc": ["body"], "msg": "field required"}]'),
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"error": ["a", "b"]}, '["a", "b"]'),
        ({"error": None}, '{"error": null}'),
        ({"error": {"code": 7}}, '{"error": {"code": 7}}'),
        ({"error": ""}, '{"error": ""}'),
        (["oops"], '["oops"]'),
        ({}, "{}"),
    ],
    ids=json.dumps,
)
def test_the_message_is_found_in_any_shape_of_body(body: Any, message: str) -> None:
    assert message_of(json.dumps(body).encode()) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"Internal Server Error", "Internal Server Error"),
        (b"  <html>502 Bad Gateway</html>\n", "<html>502 Bad Gateway</html>"),
        (b"", "empty body"),
        (b" \n", "empty body"),
        (b"caf\xe9", "caf\ufffd"),
        (b'{"error": {"message": ', '{"error": {"message":'),
    ],
)
def test_a_body_that_is_no_json_is_its_own_message(body: bytes, message: str) -> None:
    assert message_of(body) == message


def test_a_long_message_is_clipped() -> None:
    assert message_of(b"x" * 5_000) == "x" * 2_000 + "..."
    assert message_of(json.dumps({"error": "y" * 2_001}).encode()) == "y" * 2_000 + "..."
    assert message_of(b"z" * 2_000) == "z" * 2_000


@given(body=st.binary(max_size=50))
def test_any_body_has_a_message(body: bytes) -> None:
    assert 0 < len(message_of(body)) <= 2_003


@pytest.mark.parametrize("start", [b"9" * 5_000, b"[" * 100_000, b'{"error":' + b"[" * 100_000], ids=["9", "[", "{["])
def test_a_body_that_cannot_be_parsed_for_its_size_is_its_own_message(start: bytes) -> None:
    """What a server sends must never end in an exception of ours (json raises RecursionError, no ValueError)."""
    assert message_of(start) == start.decode()[:2_000] + "..."
