"""What goes into request bodies and comes out of answers: pure functions, no I/O.

Two dialects: the plain agent's `POST /generate` (`{"prompt"}` to `{"response"}` or `{"text"}`), and vLLM's
`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`. Every reader raises `ShapeError` where a 2xx body is not
what it should be; nothing else is raised for any JSON.
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from swarmpool.responses import TokenUsage
from swarmpool.tools import ToolCall, tool_calls_in

__all__ = [
    "Delta",
    "ErrorEvent",
    "ModelCard",
    "Reply",
    "ShapeError",
    "chat_body",
    "completions_body",
    "embeddings_body",
    "encode",
    "generate_body",
    "read_chat",
    "read_chat_delta",
    "read_completions",
    "read_embeddings",
    "read_generate",
    "read_generate_delta",
    "read_models",
]

Json = dict[str, Any]

_encode = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False
).encode  # made once: json.dumps makes one for each call


class ShapeError(ValueError):
    """A 2xx body that is not what the call expects; the message says what is wrong with it."""


class ErrorEvent(Exception):
    """An error object inside a stream of status 200; the message is the server's."""


@dataclass(slots=True)
class Reply:
    """What a whole answer says."""

    text: str
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    tool_calls: list[ToolCall] | None = None
    logprobs: Any = None


@dataclass(slots=True)
class Delta:
    """What one event of a stream adds. `completion_tokens` is the running count, where the server sends one."""

    text: str = ""
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    completion_tokens: int | None = None
    tool_calls: list[ToolCall] | None = None
    logprobs: Any = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One entry of `/v1/models`."""

    name: str
    max_model_len: int | None


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON with compact separators; ASCII, so that a lone surrogate in a prompt cannot fail.

    Raises TypeError or ValueError naming the entry that JSON has no form for (a set, a NaN, a cycle).
    """
    try:
        return _encode(payload).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise _blamed(payload, error) from error


def _blamed(payload: Mapping[str, Any], error: Exception) -> Exception:
    """The same kind of error, naming the entry that is at fault."""
    for name, value in payload.items():
        try:
            _encode(value)
        except (TypeError, ValueError, RecursionError):
            kind = TypeError if isinstance(error, TypeError) else ValueError
            return kind(f"{name} cannot be sent as JSON: {error}")
    return error


def decode(body: bytes) -> Any:
    """The JSON value in `body`."""
    try:
        return json.loads(str(body, "utf-8"))
    except (ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        raise ShapeError(f"the body is not JSON ({error}); it begins {start!r}") from error


def generate_body(prompt: str, max_tokens: int | None, sampling: Mapping[str, Any]) -> Json:
    """The plain agent's request."""
    body: Json = {"prompt": prompt}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return {**body, **sampling}


def read_generate(body: bytes) -> Reply:
    """The plain agent's answer: `response` or `text`."""
    value = _object(decode(body))
    for key in ("response", "text"):
        if isinstance(value.get(key), str):
            return Reply(value[key], _text_or_none(value.get("finish_reason")), _usage(value.get("usage")))
    raise ShapeError(f"the answer has neither `response` nor `text` as a string; its keys are {sorted(value)}")


def read_generate_delta(data: bytes) -> Delta:
    """One event of a plain agent's stream."""
    value = _event(data)
    text = next((value[key] for key in ("response", "text") if isinstance(value.get(key), str)), "")
    return Delta(text, _text_or_none(value.get("finish_reason")), _usage(value.get("usage")))


def chat_body(model: str, messages: Sequence[Mapping[str, Any]], max_tokens: int, sampling: Mapping[str, Any]) -> Json:
    """A chat completion's request; `sampling` has the last word."""
    return {"model": model, "messages": messages, "max_tokens": max_tokens, **sampling}


def completions_body(model: str, prompts: Sequence[str], max_tokens: int, sampling: Mapping[str, Any]) -> Json:
    """A completion's request for a list of prompts."""
    return {"model": model, "prompt": list(prompts), "max_tokens": max_tokens, **sampling}


def read_chat(body: bytes) -> Reply:
    """A chat completion. `content` may be null (tool calls, a refusal): that is an answer without text."""
    value = decode(body)
    try:
        choice = value["choices"][0]
        message = choice["message"]
        text = message.get("content")
    except (TypeError, KeyError, IndexError, AttributeError):
        choice = _choices(_object(value))[0]
        raise ShapeError(f"choices[0] has no message; its keys are {sorted(choice)}") from None
    if not isinstance(text, str) and text is not None:
        raise ShapeError(f"choices[0].message.content is a JSON {type(text).__name__}, neither text nor null")
    reply = Reply(text or "", _text_or_none(choice.get("finish_reason")), _usage(value.get("usage")))
    if message.get("tool_calls"):
        reply.tool_calls = tool_calls_in(message) or None
    reply.logprobs = choice.get("logprobs")
    return reply


def read_completions(body: bytes, prompts: int) -> list[Reply | None]:
    """The answers to a batch, each in the place its `index` says; None where there is none.

    Order in the list of choices means nothing: vLLM may send them in any. Answers with an index that is no prompt's, or
    a second one for the same prompt, are left out.
    """
    value = _object(decode(body))
    usage = _usage(value.get("usage")) if prompts == 1 else None  # of a larger batch it is the sum
    replies: list[Reply | None] = [None] * prompts
    for choice in _choices(value):
        index, text = choice.get("index"), choice.get("text")
        if _is_count(index) and index < prompts and isinstance(text, str) and replies[index] is None:
            replies[index] = Reply(text, _text_or_none(choice.get("finish_reason")), usage)
    return replies


def embeddings_body(model: str | None, texts: Sequence[str], encoding: str, parameters: Mapping[str, Any]) -> Json:
    """The request to embed a list of texts; without a model it is the server's own."""
    named = {} if model is None else {"model": model}
    return {**named, "input": list(texts), "encoding_format": encoding, **parameters}


def read_embeddings(body: bytes, texts: int) -> tuple[list[list[float] | ShapeError | None], TokenUsage | None]:
    """The vectors of a batch, each in the place its `index` says (None: not there), and the usage of them all.

    Order in the list means nothing. Vectors may be numbers or base64, whichever was asked for. Entries with an index
    that is no text's, or a second one for the same text, are left out.
    """
    value = _object(decode(body))
    data = value.get("data")
    if not isinstance(data, list) or not all(isinstance(datum, dict) for datum in data):
        raise ShapeError(f"the answer has no list of data; its keys are {sorted(value)}")
    vectors: list[list[float] | ShapeError | None] = [None] * texts
    for datum in data:
        index = datum.get("index")
        if _is_count(index) and index < texts and vectors[index] is None:
            vectors[index] = _vector_or_error(datum.get("embedding"))
    return vectors, _usage(value.get("usage"))


def _vector_or_error(value: Any) -> list[float] | ShapeError:
    try:
        vector = _unpacked(value) if isinstance(value, str) else _numbers(value)
    except (ValueError, OverflowError) as error:
        return ShapeError(f"its embedding cannot be read: {error}")
    return vector or ShapeError("its embedding is empty")


def _unpacked(value: str) -> list[float]:
    """The vector in base64: little-endian 32-bit floats (vLLM 0.33, vllm/utils/serial_utils.py, on such machines)."""
    packed = binascii.a2b_base64(value, strict_mode=True) if value else b""
    if len(packed) % 4:
        raise ValueError(f"{len(packed)} bytes are no whole number of 32-bit floats")
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def _numbers(value: Any) -> list[float]:
    if not isinstance(value, list):
        raise ShapeError(f"it is a JSON {type(value).__name__}, neither a list nor text")
    if not {float, int}.issuperset(map(type, value)):
        raise ShapeError("not all of it are numbers")
    return list(map(float, value))


def read_chat_delta(data: bytes) -> Delta:
    """One event of a chat completion's stream; only the first choice has a say."""
    value = _event(data)
    usage = _usage(value.get("usage"))
    tokens = usage.completion_tokens if usage else None
    choices = value.get("choices")
    if not isinstance(choices, list):
        raise ShapeError("an event has no list of choices")
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index") == 0:
            delta = choice.get("delta")
            text = delta.get("content") if isinstance(delta, dict) else None
            return Delta(
                text if isinstance(text, str) else "",
                _text_or_none(choice.get("finish_reason")),
                usage,
                tokens,
                tool_calls_in(delta) or None,
                choice.get("logprobs"),
            )
    return Delta(usage=usage, completion_tokens=tokens)


def read_models(body: bytes) -> ModelCard:
    """The first model that `/v1/models` lists."""
    data = _object(decode(body)).get("data")
    if not isinstance(data, list) or not data or not isinstance(data[0], dict):
        raise ShapeError("/v1/models lists no model")
    name, length = data[0].get("id"), data[0].get("max_model_len")
    if not isinstance(name, str):
        raise ShapeError("the first model of /v1/models has no id")
    return ModelCard(name, length if _is_count(length) and length else None)


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ShapeError(f"the body is a JSON {type(value).__name__}, not an object")
    return value


def _choices(value: Json) -> list[Json]:
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise ShapeError(f"the answer has no list of choices; its keys are {sorted(value)}")
    return choices


def _event(data: bytes) -> Json:
    value = _object(decode(data))
    if value.get("error") is not None:
        error = value["error"]
        message = error.get("message") if isinstance(error, dict) else error
        raise ErrorEvent(message if isinstance(message, str) else json.dumps(error))
    return value


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0  # true and false are ints to isinstance


def _usage(value: Any) -> TokenUsage | None:
    if not isinstance(value, dict):
        return None
    prompt = value.get("prompt_tokens") or 0
    completion = value.get("completion_tokens") or 0
    total = value.get("total_tokens") or 0
    # One test for three: this is on the path of every answer.
    if type(prompt) is type(completion) is type(total) is int and prompt >= 0 <= completion and total >= 0:
        return TokenUsage(prompt, completion, total)
    return None
