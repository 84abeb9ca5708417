from __future__ import annotations

from typing import Any

import pytest
from asking import app, chunks, events, post, post_ok, refused, timeless

from fleetsim.profile import Profile

PATH = "/v1/completions"


def paris(**fields: Any) -> dict[str, Any]:
    return {"model": "sim", "prompt": "The capital of France is", "request_id": "me", **fields}


async def test_a_unary_answer_is_vllms_to_the_byte() -> None:
    reply = await post(PATH, paris(max_tokens=1))
    assert timeless(reply.body) == (
        b'{"id":"cmpl-me","object":"text_completion","created":T,"model":"sim","choices":[{"index":0,"text":"Attack",'
        b'"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"prompt_logprobs":null,'
        b'"prompt_token_ids":null,"routed_experts":null,"weight_versions":null}],"service_tier":null,'
        b'"system_fingerprint":"vllm-0.33.0-7b4e3495","usage":{"prompt_tokens":6,"total_tokens":7,'
        b'"completion_tokens":1,"prompt_tokens_details":null,"completion_tokens_details":null},'
        b'"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}'
    )


HEAD = b'data: {"id":"cmpl-me","object":"text_completion","created":T,"model":"sim","choices":['


def token(text: bytes, finish: bytes = b"null", after: bytes = b"") -> bytes:
    return HEAD + (
        b'{"index":0,"text":"' + text + b'","logprobs":null,"finish_reason":' + finish + b',"stop_reason":null,'
        b'"prompt_token_ids":null,"token_ids":null,"weight_versions":null}]'
        + after
        + b',"kv_transfer_params":null}\n\n'
    )


async def test_a_stream_is_vllms_to_the_byte() -> None:
    sent = timeless(b"".join(await events(PATH, paris(stream=True, max_tokens=2))))
    fingerprint = b',"system_fingerprint":"vllm-0.33.0-7b4e3495"'
    assert sent == token(b"Attack") + token(b" fly", b'"length"', fingerprint) + b"data: [DONE]\n\n"


async def test_a_stream_may_end_with_usage() -> None:
    body = paris(stream=True, max_tokens=1, stream_options={"include_usage": True, "continuous_usage_stats": True})
    first, usage, done = (timeless(event) for event in await events(PATH, body))
    counts = b',"usage":{"prompt_tokens":6,"total_tokens":7,"completion_tokens":1}'
    assert first == token(b"Attack", b'"length"', counts)
    assert usage == HEAD + b"]" + counts + b',"system_fingerprint":"vllm-0.33.0-7b4e3495"}\n\n'
    assert done == b"data: [DONE]\n\n"


async def test_without_a_limit_there_are_sixteen_tokens() -> None:
    answer = await post_ok(PATH, paris())
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (16, "length")


async def test_choices_are_numbered_prompt_by_prompt() -> None:
    answer = await post_ok(PATH, paris(prompt=["one", "two", "three"], n=2, max_tokens=4))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3, 4, 5]
    alone = [await post_ok(PATH, paris(prompt=prompt, n=2, max_tokens=4)) for prompt in ("one", "two", "three")]
    assert [choice["text"] for choice in answer["choices"]] == [
        choice["text"] for each in alone for choice in each["choices"]
    ]
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["usage"]["prompt_tokens"] == sum(each["usage"]["prompt_tokens"] for each in alone) == 3


async def test_chunks_of_different_prompts_take_turns_and_each_prompt_is_counted_once() -> None:
    options = {"include_usage": True}
    sent = await chunks(PATH, paris(prompt=["one", "two"], n=2, stream=True, max_tokens=2, stream_options=options))
    assert [chunk["choices"][0]["index"] for chunk in sent[:-1]] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert sent[-1]["usage"] == {"prompt_tokens": 2, "total_tokens": 10, "completion_tokens": 8}


async def test_ids_and_their_text_get_the_same_answer() -> None:
    tokens = (await post_ok("/tokenize", {"prompt": "The capital of France is"}))["tokens"]
    text, ids, lists = [
        await post_ok(PATH, paris(prompt=prompt)) for prompt in (paris()["prompt"], tokens, [tokens, tokens])
    ]
    assert text["choices"] == ids["choices"]
    assert [choice["text"] for choice in lists["choices"]] == [text["choices"][0]["text"]] * 2
    assert ids["usage"]["prompt_tokens"] == len(tokens)


async def test_a_prompt_is_echoed_on_request() -> None:
    plain = (await post_ok(PATH, paris()))["choices"][0]["text"]
    assert (await post_ok(PATH, paris(echo=True)))["choices"][0]["text"] == paris()["prompt"] + plain
    first = (await chunks(PATH, paris(echo=True, stream=True)))[0]
    assert first["choices"][0]["text"].startswith(paris()["prompt"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_may_be_all_that_is_asked_for(stream: bool) -> None:
    body = paris(echo=True, max_tokens=0, stream=stream)
    (answer,) = await chunks(PATH, body) if stream else [await post_ok(PATH, body)]
    assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == (paris()["prompt"], "length")


NO_PROMPT = "Either prompt or prompt_embeds must be provided and non-empty."


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"prompt": ""}, (400, "Bad Request", "prompt", NO_PROMPT)),
        ({"prompt": None}, (400, "Bad Request", "prompt", NO_PROMPT)),
        ({"prompt": []}, (400, "Bad Request", "prompt", NO_PROMPT)),
        ({"prompt": ["a", 1]}, (400, "Bad Request", "prompt", "expected a string, a list of strings")),
        ({"prompt": ["a"] * 1_025}, (400, "Bad Request", "prompt", "prompt list length 1025 exceeds the maximum")),
        ({"prompt": [60_000]}, (400, "BadRequestError", None, "Token id 60000 is out of vocabulary")),
        ({"suffix": "x"}, (400, "BadRequestError", None, "suffix is not currently supported")),
        ({"max_tokens": 0}, (400, "BadRequestError", "max_tokens", "max_tokens must be at least 1, got 0.")),
        ({"model": "x"}, (404, "NotFoundError", "model", "The model `x` does not exist.")),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused(fields: dict[str, Any], refusal: tuple[Any, ...]) -> None:
    status, kind, param, message = await refused(PATH, paris(**fields))
    assert (status, kind, param) == refusal[:3]
    assert refusal[3] in message


async def test_one_prompt_too_long_refuses_the_whole_list() -> None:
    small = app(Profile(max_model_len=30))
    assert (await post(PATH, paris(prompt=["a", "b"]), small)).status == 200
    refusal = await refused(PATH, paris(prompt=["a", "word " * 40]), small)
    assert refusal[2:] == (
        "input_tokens",
        "This model's maximum context length is 30 tokens. However, you requested 16 output tokens and your prompt "  # noqa: ISC004 (one message)
        "contains at least 15 input tokens, for a total of at least 31 tokens. Please reduce the length of the input "
        "prompt or the number of requested output tokens. (parameter=input_tokens, value=15)",
    )
    counted = await refused(PATH, paris(prompt=[1] * 40), small)
    assert "your prompt contains 40 input tokens, for a total of 56 tokens." in counted[3]
