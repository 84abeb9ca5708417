"""`/v1/chat/completions`, as vLLM 0.33 answers it (entrypoints/openai/chat_completion/protocol.py and serving.py).

The chat template is ChatML. Unary bodies keep their nulls; events carry only the fields vLLM sets.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fleetsim.api.bodies import reader
from fleetsim.api.refusals import bad_parameter, not_simulated
from fleetsim.api.sampling import Sampling, check_sampling, check_stream_options
from fleetsim.api.served import Served, Server, now
from fleetsim.api.streaming import Frame, Script, stream, usage_counts
from fleetsim.api.wording import Wording, cut_short, word
from fleetsim.engine import AbortedError, Job
from fleetsim.exchange import ApiRequest, EventStream, Reply, Unary
from fleetsim.tokenizer import IM_END, IM_START

__all__ = ["Message", "create_chat_completion", "render"]

_ASSISTANT = f"{IM_START}assistant\n"
_CHOICE = (
    b'{"index":%d,"message":{"role":"assistant","content":"%b","refusal":null,"annotations":null,"audio":null,'
    b'"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":null,'
    b'"routed_experts":null,"weight_versions":null}'
)
_BODY = (
    b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"choices":[%b],"service_tier":null,'
    b'"system_fingerprint":%b,"usage":{%b,"prompt_tokens_details":null,"completion_tokens_details":null},'
    b'"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,'
    b'"ec_transfer_params":null,"metrics":null}'
)
_ROLE = b'%b{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
_ROLE_END = b',"prompt_token_ids":null,"prompt_text":null}\n\n'
_TOKEN = b'%b{"index":%d,"delta":{"content":"'
_TAIL = b'"},"logprobs":null,"finish_reason":null,"token_ids":null}]'
_LAST_TAIL = b'"},"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":null,"weight_versions":null}]'
_END = b',"kv_transfer_params":null}\n\n'


class Part(msgspec.Struct):
    """A piece of a message's content; only text is served."""

    type: str = "text"
    text: str = ""


class Message(msgspec.Struct):
    """One turn of a conversation."""

    role: str
    content: str | list[Part] | None = None


class ChatRequest(Sampling, kw_only=True):
    """The body of a request."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    add_generation_prompt: bool = True
    echo: bool = False
    tool_choice: Any = None


_read = reader(ChatRequest)


async def create_chat_completion(server: Server, request: ApiRequest) -> Reply:
    """Answer one chat request: a body, or a stream that begins before the first token."""
    asked = _read(request)
    check_stream_options(asked)
    _check_simulated(asked)
    served = server.served
    served.require(asked.model)
    prompt = render(asked.messages, served, add_generation_prompt=asked.add_generation_prompt)
    tokens = served.tokenizer.count(prompt)
    limit = _limit(asked, served, tokens)
    check_sampling(asked, limit)
    wordings = [word(server, asked, prompt, sequence, limit) for sequence in range(asked.sequences())]
    generation = server.engine.generate([Job(tokens, wording.count) for wording in wordings])
    answer_id = msgspec.json.encode("chatcmpl-" + server.request_id(request, asked.request_id))
    if asked.stream:
        return EventStream(stream(_script(server, asked, answer_id, tokens, wordings), generation))
    try:
        await generation.finish()
    except AbortedError as aborted:
        cut_short(wordings, aborted.said)
    return Unary(200, _body(served, answer_id, tokens, wordings))


def render(messages: list[Message], served: Served, *, add_generation_prompt: bool = True) -> str:
    """Return the prompt that the model sees. Raises RefusalError for content that is not text."""
    turns = []
    for message in messages:
        content = message.content
        text = content if isinstance(content, str) else _joined(content or [], served)
        turns.append(f"{IM_START}{message.role}\n{text}{IM_END}\n")
    if add_generation_prompt:
        turns.append(_ASSISTANT)
    return "".join(turns)


def _joined(content: list[Part], served: Served) -> str:
    if any(part.type != "text" for part in content):
        raise bad_parameter(f"{served.profile.model} is not a multimodal model")
    return "\n".join(part.text for part in content)


def _check_simulated(asked: ChatRequest) -> None:
    if asked.tool_choice not in (None, "none", "auto"):
        raise not_simulated("tool_choice")
    if asked.echo:
        raise not_simulated("echo")


def _limit(asked: ChatRequest, served: Served, tokens: int) -> int:
    if asked.max_completion_tokens is not None:
        return served.room(tokens, asked.max_completion_tokens, name="max_completion_tokens")
    return served.room(tokens, asked.max_tokens)


def _body(served: Served, answer_id: bytes, prompt_tokens: int, wordings: list[Wording]) -> bytes:
    choices, tokens = [], 0
    for index, wording in enumerate(wordings):
        choices.append(_CHOICE % (index, wording.json(), wording.finish_reason, wording.stop_reason))
        tokens += wording.count
    usage = usage_counts(prompt_tokens, tokens)
    return _BODY % (answer_id, now(), served.model, b",".join(choices), served.fingerprint, usage)


def _script(
    server: Server, asked: ChatRequest, answer_id: bytes, prompt_tokens: int, wordings: list[Wording]
) -> Script:
    frame = Frame(server, asked, id=answer_id, kind=b"chat.completion.chunk", created=now())
    indexes = range(len(wordings))
    return Script(
        frame=frame,
        wordings=wordings,
        prompt_tokens=[prompt_tokens] * len(wordings),
        all_prompt_tokens=prompt_tokens,
        openings=[_ROLE % (frame.head, index) for index in indexes],
        opening_end=_ROLE_END,
        heads=[_TOKEN % (frame.head, index) for index in indexes],
        tail=_TAIL,
        last_tail=_LAST_TAIL,
        end=_END,
        usage_extra=b',"completion_tokens_details":null',
    )
