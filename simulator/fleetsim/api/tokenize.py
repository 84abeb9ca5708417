"""`/tokenize` and `/detokenize`, as in vLLM 0.33 (entrypoints/serve/tokenize/protocol.py).

They use the tokenizer that usage figures are counted with, so all three agree.
"""

from __future__ import annotations

import msgspec

from fleetsim.api.bodies import missing_field, reader
from fleetsim.api.chat import Message, render
from fleetsim.api.served import Served, Server
from fleetsim.exchange import ApiRequest, Reply, Unary

__all__ = ["detokenize", "tokenize"]


class TokenizeRequest(msgspec.Struct):
    """The body of a request: a prompt, or the messages of a chat."""

    prompt: str | None = None
    messages: list[Message] | None = None
    model: str | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False


class DetokenizeRequest(msgspec.Struct):
    """The body of a request."""

    tokens: list[int]
    model: str | None = None


class TokenizeResponse(msgspec.Struct):
    """The body of an answer; lengths in tokens."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


_read_tokenize = reader(TokenizeRequest)
_read_detokenize = reader(DetokenizeRequest)


async def tokenize(server: Server, request: ApiRequest) -> Reply:
    """Answer with the token ids of a text or of a chat as the model would see it."""
    asked = _read_tokenize(request)
    served = server.served
    served.require(asked.model)
    tokens = served.tokenizer.encode(_text(asked, served))
    served.room(len(tokens), 0)
    strings = [served.tokenizer.piece(number) for number in tokens] if asked.return_token_strs else None
    body = TokenizeResponse(len(tokens), served.max_model_len, tokens, strings)
    return Unary(200, msgspec.json.encode(body))


def _text(asked: TokenizeRequest, served: Served) -> str:
    if asked.messages is not None:
        return render(asked.messages, served, add_generation_prompt=asked.add_generation_prompt)
    if asked.prompt is None:
        raise missing_field("prompt", asked)
    return asked.prompt


async def detokenize(server: Server, request: ApiRequest) -> Reply:
    """Answer with the text of token ids."""
    asked = _read_detokenize(request)
    served = server.served
    served.require(asked.model)
    served.room(len(asked.tokens), 0, exact=True)
    return Unary(200, msgspec.json.encode({"prompt": served.decode(asked.tokens)}))
