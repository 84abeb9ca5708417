"""`/generate`, the plain agents' route that pools of mixed back ends speak: `{"prompt"}` in, `{"response"}` out.

vLLM has no such route; requests are checked and refused as vLLM's own are. With `"stream": true` the events carry
`{"text"}`, the last one `finish_reason` too; so does an answer that was given up midway, which could not be told from a
whole one otherwise.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fleetsim.api.bodies import reader
from fleetsim.api.sampling import Sampling, check_sampling
from fleetsim.api.served import Server
from fleetsim.api.streaming import DONE, error_event
from fleetsim.api.wording import Wording, cut_short, word
from fleetsim.engine import AbortedError, EngineHaltedError, Generation, Job
from fleetsim.exchange import ApiRequest, EventStream, Reply, Unary

__all__ = ["generate"]

_BODY = b'{"response":"%b"}'
_GIVEN_UP = b'{"response":"%b","finish_reason":%b}'
_TOKEN = b'data: {"text":"%b"}\n\n'
_LAST = b'data: {"text":"%b","finish_reason":%b}\n\n'


class GenerateRequest(Sampling, kw_only=True):
    """The body of a request."""

    prompt: str


_read = reader(GenerateRequest)


async def generate(server: Server, request: ApiRequest) -> Reply:
    """Answer one prompt: a body, or a stream that begins before the first token."""
    asked = _read(request)
    served = server.served
    tokens = served.tokenizer.count(asked.prompt)
    limit = served.room(tokens, asked.max_tokens)
    check_sampling(asked, limit)
    wording = word(server, asked, asked.prompt, 0, limit)
    generation = server.engine.generate([Job(tokens, wording.count)])
    if asked.stream:
        return EventStream(_stream(wording, generation))
    try:
        await generation.finish()
    except AbortedError as aborted:
        cut_short([wording], aborted.said)
        return Unary(200, _GIVEN_UP % (wording.json(), wording.finish_reason))
    return Unary(200, _BODY % wording.json())


async def _stream(wording: Wording, generation: Generation) -> AsyncGenerator[bytes, None]:
    *pieces, last = wording.pieces_json()
    said = iter(pieces)
    try:
        async for batch in generation:
            for _ in batch:
                piece = next(said, None)
                yield _LAST % (last, wording.finish_reason) if piece is None else _TOKEN % piece
    except AbortedError:
        yield _LAST % (b"", b'"abort"')
    except EngineHaltedError as reason:
        yield error_event(reason)
    yield DONE
