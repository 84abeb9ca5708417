"""From what aiohttp and the system raise, and from what servers say, to a kind and a sentence."""

from __future__ import annotations

import errno
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from swarmpool.responses import FailureKind

__all__ = ["WIRE_ERRORS", "failure_of", "message_of", "retry_after"]

# Everything that a connection may do to us. What is not here is a bug of ours and must not look like a server's.
WIRE_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_LONGEST_MESSAGE = 2_000  # characters of a body shown in an error

# The order matters: aiohttp's classes derive from one another, and the first that fits is taken.
_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (aiohttp.ConnectionTimeoutError, FailureKind.CONNECT_TIMEOUT),
    (aiohttp.ClientConnectorDNSError, FailureKind.DNS),
    (aiohttp.ClientSSLError, FailureKind.TLS),
    (aiohttp.ServerFingerprintMismatch, FailureKind.TLS),
    (aiohttp.ClientConnectorError, FailureKind.CONNECT),
    (aiohttp.InvalidURL, FailureKind.CONNECT),
    (aiohttp.ServerTimeoutError, FailureKind.TIMEOUT),
    (aiohttp.ServerDisconnectedError, FailureKind.DISCONNECTED),
    (aiohttp.ClientPayloadError, FailureKind.TRUNCATED),
    (aiohttp.ClientResponseError, FailureKind.PROTOCOL),
    (aiohttp.ClientOSError, FailureKind.RESET),
    (aiohttp.ClientConnectionError, FailureKind.DISCONNECTED),
    (aiohttp.ClientError, FailureKind.PROTOCOL),
    (ConnectionResetError, FailureKind.RESET),
    (BrokenPipeError, FailureKind.RESET),
    (TimeoutError, FailureKind.TIMEOUT),
    (OSError, FailureKind.CONNECT),
)


def failure_of(error: BaseException) -> tuple[FailureKind, str]:
    """The kind of a wire error and a sentence that is never empty."""
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    if number in _NO_DESCRIPTORS:
        return FailureKind.DESCRIPTORS, f"{error}; raise the limit on open files (`ulimit -n`) or lower connector_limit"
    kind = next(kind for error_class, kind in _KINDS if isinstance(error, error_class))
    if isinstance(error.__cause__, ContentEncodingError):
        kind = FailureKind.PROTOCOL  # all of the body came, and it does not unpack
    return kind, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def retry_after(header: str | None) -> float | None:
    """The seconds that a `Retry-After` asks for (RFC 9110, 10.2.3); None if it says nothing that can be read.

    A date is read by the system's clock, as the server wrote it by its own; one that has gone by is 0.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # longer than any wait either way
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())


def message_of(body: bytes) -> str:
    """The message in an error body, in any of the four shapes that vLLM and what stands before it send.

    They are `{"error": {"message": ...}}`, `{"error": "..."}`, `{"detail": ...}` and plain text; older servers put
    `message` at the top.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        return _clip(_message_in(json.loads(text)) or text)
    except (ValueError, RecursionError):  # no JSON, or deeper than can be read
        return _clip(text or "empty body")


def _message_in(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    error = value.get("error", value)
    if isinstance(error, dict):
        error = error.get("message", error.get("detail"))
    if error is None:
        return None
    return error if isinstance(error, str) else json.dumps(error)


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
