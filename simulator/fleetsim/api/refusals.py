"""How a server says no: vLLM 0.33's error bodies.

A handler raises `RefusalError`; the app turns it into the answer. From vLLM 0.33: entrypoints/serve/engine/protocol.py
and entrypoints/serve/exception_handling/ for the bodies, renderers/params.py for the words about length.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from fleetsim.engine import EngineDeadError, EngineHaltedError, PausedError
from fleetsim.exchange import Unary

__all__ = [
    "RefusalError",
    "bad_parameter",
    "detail",
    "halted",
    "not_simulated",
    "prompt_too_long",
    "unknown_model",
]


class RefusalError(Exception):
    """A request that gets an error body. `message`, `kind` (vLLM's `type`), `param` and `status` make up the body."""

    def __init__(self, status: int, kind: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def reply(self) -> Unary:
        """Return the answer: `{"error":{"message","type","param","code"}}`."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return Unary(self.status, msgspec.json.encode({"error": error}))


def halted(reason: EngineHaltedError) -> RefusalError:
    """Return what a request is told whose engine is halted, if it is to be told so."""
    if isinstance(reason, PausedError):
        message = "Generation is paused. Please retry after it resumes."
        return RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableError", message)
    dead = isinstance(reason, EngineDeadError)
    message = "The server had an error while processing your request." if dead else "Internal server error"
    return RefusalError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", message)


def detail(status: HTTPStatus, *, headers: tuple[tuple[str, str], ...] = ()) -> Unary:
    """Return the body of a refusal from the router, which vLLM's error handlers do not see (FastAPI's default)."""
    return Unary(status, msgspec.json.encode({"detail": status.phrase}), headers=headers)


def bad_parameter(message: str, *, param: str | None = None, value: object = None) -> RefusalError:
    """Return a 400 about one parameter. vLLM appends name and value to the message."""
    extras = [f"{name}={known}" for name, known in (("parameter", param), ("value", value)) if known is not None]
    shown = f"{message} ({', '.join(extras)})" if extras else message
    return RefusalError(HTTPStatus.BAD_REQUEST, "BadRequestError", shown, param=param)


def not_simulated(what: str) -> RefusalError:
    """Return a 501 for what real vLLM could do and this server does not: better than an answer that lies."""
    return RefusalError(HTTPStatus.NOT_IMPLEMENTED, "NotImplementedError", f"{what} is not simulated", param=what)


def unknown_model(model: str, served: str) -> RefusalError:
    """Return the 404 for a model that is not served."""
    message = f"The model `{model}` does not exist. Valid aliases: {served}."
    return RefusalError(HTTPStatus.NOT_FOUND, "NotFoundError", message, param="model")


def prompt_too_long(*, tokens: int, output: int, limit: int, exact: bool) -> RefusalError:
    """Return the 400 for a prompt that does not fit; lengths in tokens.

    vLLM cuts text off at one token too many, so it knows of a text only that it has at least so many (`exact` is off).
    """
    known = tokens if exact else limit - output + 1
    about = "" if exact else "at least "
    message = f"This model's maximum context length is {limit} tokens. However, "
    if output:
        message += (
            f"you requested {output} output tokens and your prompt contains {about}{known} input tokens, "
            f"for a total of {about}{known + output} tokens. "
            "Please reduce the length of the input prompt or the number of requested output tokens."
        )
    else:
        message += (
            f"your prompt contains {about}{known} input tokens, which exceeds this limit even without any output "
            "tokens. Please reduce the length of the input prompt."
        )
    return bad_parameter(message, param="input_tokens", value=known)
