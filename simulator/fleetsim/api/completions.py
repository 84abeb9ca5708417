"""`/v1/completions`, as vLLM 0.33 answers it (entrypoints/openai/completion/protocol.py and serving.py).

A list of prompts is one request: each prompt is generated on its own, the choice of sequence `i` of prompt `p` has
index `p * n + i`, a unary answer comes when all are done, and one prompt that cannot be served refuses the whole list.
"""

from __future__ import annotations

import msgspec

from fleetsim.api.bodies import invalid_value, reader
from fleetsim.api.prompts import Given, Prompt, as_list, look_at
from fleetsim.api.refusals import bad_parameter
from fleetsim.api.sampling import Sampling, check_sampling, check_stream_options
from fleetsim.api.served import Served, Server, now
from fleetsim.api.streaming import Frame, Script, stream, usage_counts
from fleetsim.api.wording import Wording, cut_short, echo_only, word
from fleetsim.engine import AbortedError, Job
from fleetsim.exchange import ApiRequest, EventStream, Reply, Unary

__all__ = ["create_completion"]

_MOST_PROMPTS = 1_024  # VLLM_MAX_COMPLETION_PROMPTS
_DEFAULT_OUTPUT = 16

_CHOICE = (
    b'{"index":%d,"text":"%b","logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":null,'
    b'"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null,"weight_versions":null}'
)
_BODY = (
    b'{"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[%b],"service_tier":null,'
    b'"system_fingerprint":%b,"usage":{%b,"prompt_tokens_details":null,"completion_tokens_details":null},'
    b'"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}'
)
_TOKEN = b'%b{"index":%d,"text":"'
_TAIL = (
    b'","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null,'
    b'"weight_versions":null}]'
)
_LAST_TAIL = (
    b'","logprobs":null,"finish_reason":%b,"stop_reason":%b,"prompt_token_ids":null,"token_ids":null,'
    b'"weight_versions":null}]'
)
_END = b',"kv_transfer_params":null}\n\n'


class CompletionRequest(Sampling, kw_only=True):
    """The body of a request."""

    prompt: Given | None = None
    echo: bool = False
    suffix: str | None = None


_read = reader(CompletionRequest)


async def create_completion(server: Server, request: ApiRequest) -> Reply:
    """Answer one completion request: a body, or a stream that begins before the first token."""
    asked = _read(request)
    check_stream_options(asked)
    given = _prompts(asked)
    served = server.served
    served.require(asked.model)
    if asked.suffix is not None:
        raise bad_parameter("suffix is not currently supported")
    output = _DEFAULT_OUTPUT if asked.max_tokens is None else asked.max_tokens
    prompts = [look_at(served, prompt) for prompt in given]
    for prompt in prompts:
        served.room(prompt.tokens, output, exact=prompt.exact)
    check_sampling(asked, 1 if asked.echo and output == 0 else output)
    sequences = range(asked.sequences())
    wordings = [_word(server, asked, prompt, number, output) for prompt in prompts for number in sequences]
    tokens = [prompt.tokens for prompt in prompts for _ in sequences]
    generation = server.engine.generate([Job(tokens[index], wording.count) for index, wording in enumerate(wordings)])
    answer_id = msgspec.json.encode("cmpl-" + server.request_id(request, asked.request_id))
    prompt_tokens = sum(prompt.tokens for prompt in prompts)
    if asked.stream:
        return EventStream(stream(_script(server, asked, answer_id, tokens, prompt_tokens, wordings), generation))
    try:
        await generation.finish()
    except AbortedError as aborted:
        cut_short(wordings, aborted.said)
    return Unary(200, _body(served, answer_id, prompt_tokens, wordings))


def _prompts(asked: CompletionRequest) -> list[str | list[int]]:
    if not asked.prompt:
        message = "Either prompt or prompt_embeds must be provided and non-empty."
        raise invalid_value(message, asked, param="prompt")
    try:
        prompts = as_list(asked.prompt)
    except ValueError as error:
        raise invalid_value(f"prompt: {error}", asked, param="prompt") from error
    if len(prompts) > _MOST_PROMPTS:
        message = (
            f"prompt list length {len(prompts)} exceeds the maximum allowed count of {_MOST_PROMPTS}. "
            "To increase this limit, set the VLLM_MAX_COMPLETION_PROMPTS environment variable."
        )
        raise invalid_value(message, asked, param="prompt")
    return prompts


def _word(server: Server, asked: CompletionRequest, prompt: Prompt, number: int, output: int) -> Wording:
    if not output:
        return echo_only(server, prompt.text)
    return word(server, asked, prompt.text, number, output, echo=asked.echo)


def _body(served: Served, answer_id: bytes, prompt_tokens: int, wordings: list[Wording]) -> bytes:
    choices = [
        _CHOICE % (index, wording.json(), wording.finish_reason, wording.stop_reason)
        for index, wording in enumerate(wordings)
    ]
    usage = usage_counts(prompt_tokens, sum(wording.count for wording in wordings))
    return _BODY % (answer_id, now(), served.model, b",".join(choices), served.fingerprint, usage)


def _script(
    server: Server,
    asked: CompletionRequest,
    answer_id: bytes,
    tokens: list[int],
    prompt_tokens: int,
    wordings: list[Wording],
) -> Script:
    frame = Frame(server, asked, id=answer_id, kind=b"text_completion", created=now())
    return Script(
        frame=frame,
        wordings=wordings,
        prompt_tokens=tokens,
        all_prompt_tokens=prompt_tokens,
        heads=[_TOKEN % (frame.head, index) for index in range(len(wordings))],
        tail=_TAIL,
        last_tail=_LAST_TAIL,
        end=_END,
    )
