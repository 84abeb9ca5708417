"""Who may drive a fleet: decided from the request alone.

A control port without a token listens on loopback only, where every web page the user has open can reach it too. A page
can send simple requests across origins (https://fetch.spec.whatwg.org/#cors-safelisted-method), and by DNS rebinding
pretend to be of the same origin. So: no request with an `Origin`; only names of the loopback as `Host`; and bodies only
as `application/json`, which no page may send across origins unasked. With a token every call needs it, and `Host` may
be any name: a page cannot know the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from http import HTTPStatus

from fleetsim.exchange import ApiRequest, Unary

__all__ = ["Guard", "refusal"]


class Guard:
    """Lets calls pass or not. `token` None lets everybody on this machine pass who is no web page."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def refusal(self, request: ApiRequest) -> Unary | None:
        """Return the refusal that `request` deserves; None lets it pass."""
        if self._token is not None and not self._has_token(request):
            return refusal(HTTPStatus.UNAUTHORIZED, "expected `Authorization: Bearer` with the fleet's token")
        if "origin" in request.headers:
            return refusal(HTTPStatus.FORBIDDEN, "no web page may drive a fleet, and an Origin says that one tries")
        host = request.headers.get("host", "")
        if self._token is None and not is_loopback_name(host):
            return refusal(HTTPStatus.FORBIDDEN, f"host: expected localhost or a loopback address, got {host!r}")
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            return _unless_json(request.headers.get("content-type", ""))
        return None

    def _has_token(self, request: ApiRequest) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(errors="surrogateescape"), self._token or b""
        )


def _unless_json(content_type: str) -> Unary | None:
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return None
    return refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-type: expected application/json, got {content_type!r}")


def is_loopback_name(host: str) -> bool:
    """Whether a `Host` header, with or without its port, names this machine's loopback."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refusal(status: HTTPStatus, reason: str) -> Unary:
    """Return an answer that says no, and why."""
    return Unary(status, json.dumps({"error": reason}).encode())
