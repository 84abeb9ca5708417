from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict

from fleetsim.control.guard import Guard, is_loopback_name
from fleetsim.exchange import ApiRequest

JSON = {"content-type": "application/json"}
LOCAL = {"host": "127.0.0.1:8000"}


def status(guard: Guard, method: str = "GET", body: bytes = b"", **headers: str) -> int | None:
    """The status of the refusal, None where the request passes."""
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    refused = guard.refusal(ApiRequest(method, "/-/faults", "", named, body))
    assert refused is None or list(json.loads(refused.body)) == ["error"]
    return None if refused is None else refused.status


def test_on_loopback_everybody_on_the_machine_passes() -> None:
    guard = Guard(None)
    assert status(guard, host="127.0.0.1:8000") is None
    assert status(guard, "DELETE", host="localhost") is None
    assert status(guard, "POST", b"{}", host="[::1]:8000", content_type="application/json; charset=utf-8") is None


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8000"])
def test_a_web_page_does_not_pass_whatever_it_asks(method: str, origin: str) -> None:
    assert status(Guard(None), method, host="127.0.0.1:8000", origin=origin, content_type="application/json") == 403


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1:8000"])
def test_a_name_that_was_rebound_to_loopback_does_not_pass(host: str) -> None:
    assert status(Guard(None), host=host) == 403


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=application/json", "json"],
)
def test_a_body_a_page_could_send_unasked_does_not_pass(content_type: str) -> None:
    assert status(Guard(None), "POST", b"{}", host="localhost", content_type=content_type) == 415
    assert status(Guard(None), "GET", b"{}", host="localhost", content_type=content_type) == 415


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer no", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret", "Bearer \udcff"],
)
def test_with_a_token_every_call_needs_it(authorization: str) -> None:
    guard = Guard("s3cret")
    for method in ("GET", "POST", "DELETE"):
        assert status(guard, method, host="localhost", content_type="application/json") == 401
        asked = status(guard, method, host="localhost", content_type="application/json", authorization=authorization)
        assert asked == 401


def test_with_the_token_any_host_may_be_named_and_no_page_passes() -> None:
    guard = Guard("s3cret")
    assert status(guard, host="fleet.example:8000", authorization="bearer s3cret") is None
    assert status(guard, host="fleet.example", authorization="Bearer s3cret", origin="http://evil.example") == 403
    assert status(guard, "POST", b"{}", host="a", authorization="Bearer s3cret", content_type="text/plain") == 415


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.8.8.8:80", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("::1", False),
        ("[fe80::1]:80", False),
        ("0.0.0.0:80", False),
        ("localhost.evil.example", False),
        ("2130706433", False),
    ],
)
def test_names_of_loopback_are_told_from_others(host: str, is_one: bool) -> None:
    assert is_loopback_name(host) is is_one
