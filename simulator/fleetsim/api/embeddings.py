"""`/v1/embeddings`, as in vLLM 0.33 (entrypoints/pooling): unit vectors that follow from (seed, text)."""

from __future__ import annotations

import base64
import math
import struct
from hashlib import shake_128
from typing import Literal

import msgspec

from fleetsim.api.bodies import invalid_value, reader
from fleetsim.api.prompts import Given, Prompt, as_list, look_at
from fleetsim.api.refusals import bad_parameter
from fleetsim.api.served import Server, now
from fleetsim.api.streaming import usage_counts
from fleetsim.engine import Job
from fleetsim.exchange import ApiRequest, Reply, Unary

__all__ = ["create_embedding"]

_DATUM = b'{"index":%d,"object":"embedding","embedding":%b}'
_BODY = (
    b'{"id":%b,"object":"list","created":%d,"model":%b,"data":[%b],'
    b'"usage":{%b,"prompt_tokens_details":null,"completion_tokens_details":null}}'
)


class EmbeddingRequest(msgspec.Struct):
    """The body of a request. `dimensions` cuts vectors short, as with a Matryoshka model."""

    input: Given
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    request_id: str | None = None


_read = reader(EmbeddingRequest)


async def create_embedding(server: Server, request: ApiRequest) -> Reply:
    """Answer with one vector per input, after the time to first token."""
    asked = _read(request)
    served = server.served
    served.require(asked.model)
    prompts = [look_at(served, prompt) for prompt in _inputs(asked)]
    for prompt in prompts:
        served.room(prompt.tokens, 0, exact=prompt.exact)
    length = _length(asked, served.profile.embedding_dimensions)
    # The engine's least work: the model runs over the prompt, and what would be its first token is the result.
    await server.engine.generate([Job(prompt.tokens, 1) for prompt in prompts]).finish()
    data = [_DATUM % (index, _written(server, asked, prompt, length)) for index, prompt in enumerate(prompts)]
    answer_id = msgspec.json.encode("embd-" + server.request_id(request, asked.request_id))
    usage = usage_counts(sum(prompt.tokens for prompt in prompts), 0)
    return Unary(200, _BODY % (answer_id, now(), served.model, b",".join(data), usage))


def _inputs(asked: EmbeddingRequest) -> list[str | list[int]]:
    try:
        inputs = as_list(asked.input)
    except ValueError as error:
        raise invalid_value(f"input: {error}", asked, param="input") from error
    if not inputs:
        raise invalid_value("input must not be empty.", asked, param="input")
    return inputs


def _length(asked: EmbeddingRequest, full: int) -> int:
    if asked.dimensions is None:
        return full
    if 1 <= asked.dimensions <= full:
        return asked.dimensions
    message = f"dimensions must be between 1 and {full}, got {asked.dimensions}."
    raise bad_parameter(message, param="dimensions", value=asked.dimensions)


def _written(server: Server, asked: EmbeddingRequest, prompt: Prompt, length: int) -> bytes:
    packed = _vector(b"%d\0%b" % (server.seed, prompt.text.encode()), length)
    if asked.encoding_format == "base64":
        return b'"%b"' % base64.b64encode(packed)
    return msgspec.json.encode(struct.unpack(f"<{length}f", packed))


def _vector(key: bytes, length: int) -> bytes:
    """Return `length` little-endian 32-bit floats of Euclidean norm 1."""
    raw = struct.unpack(f"<{length}h", shake_128(key).digest(2 * length))
    norm = math.sqrt(math.fsum(value * value for value in raw)) or 1.0
    return struct.pack(f"<{length}f", *(value / norm for value in raw))
