"""Faults that answer in place of the server: error statuses, and the shapes their bodies come in.

The bodies of the first are vLLM 0.33's (entrypoints/serve/exception_handling, entrypoints/serve/middleware,
entrypoints/serve/engine/serving.py); vLLM itself never answers 429, which is what gateways in front of it do.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import ClassVar

from fleetsim.api.refusals import RefusalError
from fleetsim.exchange import Unary
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Status
from fleetsim.faults.parameters import count, duration
from fleetsim.faults.told import Told, failed

__all__ = [
    "BadRequest",
    "DetailError",
    "EmptyError",
    "NotFound",
    "PlainError",
    "RateLimited",
    "ServerError",
    "StringError",
    "Unauthorized",
    "Unavailable",
]

_WIRE = "A whole response of that status; the connection is kept."
_SEEN = "A response of that status; an error only if it is asked for (raise_for_status)."


@catalogued
@dataclass(frozen=True, slots=True)
class BadRequest(Status):
    """400 in vLLM's shape, as for a prompt that is too long."""

    name: ClassVar[str] = "bad_request"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        message = (
            "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
            "prompt. (parameter=input_tokens, value=4097)"
        )
        return _error(HTTPStatus.BAD_REQUEST, "BadRequestError", message, param="input_tokens")


@catalogued
@dataclass(frozen=True, slots=True)
class Unauthorized(Status):
    """401 as vLLM's key check says it: the error is a string, not an object."""

    name: ClassVar[str] = "unauthorized"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        return Unary(HTTPStatus.UNAUTHORIZED, b'{"error":"Unauthorized"}')


@catalogued
@dataclass(frozen=True, slots=True)
class NotFound(Status):
    """404 in vLLM's shape, as for a model that is not served."""

    name: ClassVar[str] = "not_found"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        return _error(HTTPStatus.NOT_FOUND, "NotFoundError", "The model `unknown` does not exist.", param="model")


@catalogued
@dataclass(frozen=True, slots=True)
class RateLimited(Status):
    """429 with Retry-After, in vLLM's shape of an error."""

    name: ClassVar[str] = "rate_limited"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = "A whole response 429 with `retry-after` in whole seconds; the connection is kept."
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")
    retry_after: float = duration(1.0, "told to the client, rounded up to whole seconds")

    def reply(self) -> Unary:
        status, seconds = HTTPStatus.TOO_MANY_REQUESTS, ceil(self.retry_after)
        return _error(status, "RateLimitError", "Too many requests.", headers=(("retry-after", str(seconds)),))


@catalogued
@dataclass(frozen=True, slots=True)
class ServerError(Status):
    """500 in vLLM's shape, as when generation fails. The connection is kept."""

    name: ClassVar[str] = "server_error"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", "Internal server error")


@catalogued
@dataclass(frozen=True, slots=True)
class Unavailable(Status):
    """503 in vLLM's shape, as when its queue is full: without Retry-After."""

    name: ClassVar[str] = "unavailable"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def reply(self) -> Unary:
        message = (
            "The engine is currently busy and cannot accept new requests. "
            "Please try again later or on a different instance."
        )
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", message)


@catalogued
@dataclass(frozen=True, slots=True)
class PlainError(Status):
    """An error in plain text, as from a proxy."""

    name: ClassVar[str] = "plain_error"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN + " `json()` raises ContentTypeError."
    httpx: ClassVar[str] = _SEEN + " `json()` raises JSONDecodeError."
    told: ClassVar[Told] = failed("status")
    status: int = count(502, "HTTP status", "from 400 to 599", least=400, most=599)

    def reply(self) -> Unary:
        return Unary(self.status, _phrase(self.status).encode(), "text/plain; charset=utf-8")


@catalogued
@dataclass(frozen=True, slots=True)
class StringError(Status):
    """An error whose `error` is a string where vLLM's usual one is an object, as while vLLM scales."""

    name: ClassVar[str] = "string_error"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")
    status: int = count(503, "HTTP status", "from 400 to 599", least=400, most=599)

    def reply(self) -> Unary:
        return Unary(self.status, b'{"error":"The model is currently scaling. Please try again later."}')


@catalogued
@dataclass(frozen=True, slots=True)
class DetailError(Status):
    """An error in FastAPI's shape, which vLLM's router uses: `{"detail":"Not Found"}`."""

    name: ClassVar[str] = "detail_error"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = _WIRE
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")
    status: int = count(404, "HTTP status", "from 400 to 599", least=400, most=599)

    def reply(self) -> Unary:
        return Unary(self.status, b'{"detail":"%b"}' % _phrase(self.status).encode())


@catalogued
@dataclass(frozen=True, slots=True)
class EmptyError(Status):
    """An error without a body."""

    name: ClassVar[str] = "empty_error"
    stage: ClassVar[Stage] = Stage.STATUS
    wire: ClassVar[str] = "A head with that status and `content-length: 0`; the connection is kept."
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")
    status: int = count(500, "HTTP status", "from 400 to 599", least=400, most=599)

    def reply(self) -> Unary:
        return Unary(self.status, b"", None)


def _error(
    status: HTTPStatus, kind: str, message: str, *, param: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Unary:
    plain = RefusalError(status, kind, message, param=param).reply()
    return Unary(status, plain.body, headers=headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
