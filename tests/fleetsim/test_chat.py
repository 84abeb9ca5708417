from __future__ import annotations

import json
from typing import Any

import pytest
from asking import app, asked, chunks, events, post, post_ok, refused, timeless

from fleetsim.exchange import ApiRequest, EventStream, Unary
from fleetsim.profile import Profile

PATH = "/v1/chat/completions"
FINGERPRINT = b"vllm-0.33.0-7b4e3495"


def hello(**fields: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": [{"role": "user", "content": "hi"}], **fields}


def named(**fields: Any) -> ApiRequest:
    request = asked("POST", PATH, hello(**fields))
    return ApiRequest("POST", PATH, "", {**request.headers, "x-request-id": "me"}, request.body)


async def test_a_unary_answer_is_vllms_to_the_byte() -> None:
    reply = await app()(named(max_tokens=5))
    assert isinstance(reply, Unary)
    assert timeless(reply.body) == (
        b'{"id":"chatcmpl-me","object":"chat.completion","created":T,"model":"sim","choices":[{"index":0,"message":{'
        b'"role":"assistant","content":"Cell deal page sister stock","refusal":null,"annotations":null,'
        b'"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"length","stop_reason":null,'
        b'"token_ids":null,"routed_experts":null,"weight_versions":null}],"service_tier":null,"system_fingerprint":"'
        + FINGERPRINT
        + b'","usage":{"prompt_tokens":10,"total_tokens":15,"completion_tokens":5,"prompt_tokens_details":null,'
        b'"completion_tokens_details":null},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,'
        b'"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}'
    )


async def stream_of(request: ApiRequest) -> bytes:
    reply = await app()(request)
    assert isinstance(reply, EventStream)
    return timeless(b"".join([event async for event in reply.events]))


HEAD = b'data: {"id":"chatcmpl-me","object":"chat.completion.chunk","created":T,"model":"sim","choices":['
ROLE = HEAD + (
    b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],'
    b'"prompt_token_ids":null,"prompt_text":null}\n\n'
)


def token(text: bytes) -> bytes:
    return HEAD + (
        b'{"index":0,"delta":{"content":"' + text + b'"},"logprobs":null,"finish_reason":null,"token_ids":null}],'
        b'"kv_transfer_params":null}\n\n'
    )


async def test_a_stream_is_vllms_to_the_byte() -> None:
    assert await stream_of(named(stream=True, max_tokens=3)) == (
        ROLE + token(b"Cell") + token(b" deal") + HEAD + b'{"index":0,"delta":{"content":" page"},"logprobs":null,'
        b'"finish_reason":"length","stop_reason":null,"token_ids":null,"weight_versions":null}],'
        b'"system_fingerprint":"' + FINGERPRINT + b'","kv_transfer_params":null}\n\ndata: [DONE]\n\n'
    )


async def test_a_stream_with_usage_has_the_fingerprint_on_the_usage_event() -> None:
    request = named(stream=True, max_tokens=2, stream_options={"include_usage": True})
    assert await stream_of(request) == (
        ROLE + token(b"Cell") + HEAD + b'{"index":0,"delta":{"content":" deal"},"logprobs":null,'
        b'"finish_reason":"length","stop_reason":null,"token_ids":null,"weight_versions":null}],'
        b'"kv_transfer_params":null}\n\n' + HEAD + b'],"usage":{"prompt_tokens":10,"total_tokens":12,'
        b'"completion_tokens":2},"system_fingerprint":"' + FINGERPRINT + b'"}\n\ndata: [DONE]\n\n'
    )


async def test_usage_goes_on_every_event_when_asked_for() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    sent = await chunks(PATH, hello(stream=True, max_tokens=3, stream_options=options))
    assert [chunk["usage"]["completion_tokens"] for chunk in sent] == [0, 1, 2, 3, 3]
    assert [chunk["usage"]["total_tokens"] for chunk in sent] == [10, 11, 12, 13, 13]
    assert list(sent[1]["usage"]) == ["prompt_tokens", "total_tokens", "completion_tokens", "completion_tokens_details"]
    assert list(sent[1]) == ["id", "object", "created", "model", "choices", "usage", "kv_transfer_params"]


async def test_continuous_usage_without_usage_is_no_usage() -> None:
    options = {"include_usage": False, "continuous_usage_stats": True}
    assert all("usage" not in chunk for chunk in await chunks(PATH, hello(stream=True, stream_options=options)))


async def test_a_stream_says_what_a_unary_answer_says() -> None:
    unary = await post_ok(PATH, hello())
    sent = await chunks(PATH, hello(stream=True))
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in sent)
    assert text == unary["choices"][0]["message"]["content"]
    assert unary["choices"][0]["finish_reason"] == sent[-1]["choices"][0]["finish_reason"] == "stop"
    assert unary["usage"]["completion_tokens"] == 64


async def test_several_choices_open_with_a_role_each_and_then_take_turns() -> None:
    sent = await chunks(PATH, hello(stream=True, n=2, max_tokens=2))
    assert [(chunk["choices"][0]["index"], "role" in chunk["choices"][0]["delta"]) for chunk in sent] == [
        (0, True), (1, True), (0, False), (1, False), (0, False), (1, False),
    ]  # fmt: skip
    unary = await post_ok(PATH, hello(n=2, max_tokens=2))
    assert [choice["index"] for choice in unary["choices"]] == [0, 1]
    assert unary["choices"][0]["message"] != unary["choices"][1]["message"]
    assert unary["usage"]["completion_tokens"] == 4


async def test_without_a_limit_the_answer_has_the_profiles_length() -> None:
    answer = await post_ok(PATH, hello(), app(Profile(output_tokens=7)))
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (7, "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_either_limit_cuts_the_answer(name: str) -> None:
    answer = await post_ok(PATH, hello(**{name: 9}))
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (9, "length")


async def test_ignoring_the_end_fills_the_limit() -> None:
    answer = await post_ok(PATH, hello(ignore_eos=True, max_tokens=100))
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (100, "length")


async def test_an_id_is_the_clients_or_new_and_never_twice() -> None:
    answer = app()
    first, second = [await post_ok(PATH, hello(), answer) for _ in range(2)]
    assert first["id"] != second["id"]
    assert len(first["id"]) == len("chatcmpl-") + 32
    assert (await post_ok(PATH, hello(request_id="mine")))["id"] == "chatcmpl-mine"


async def test_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    in_parts = await post_ok(PATH, hello(messages=[{"role": "user", "content": parts}]))
    whole = await post_ok(PATH, hello(messages=[{"role": "user", "content": "a\nb"}]))
    assert in_parts["choices"] == whole["choices"]


async def test_a_picture_is_refused() -> None:
    content = [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
    assert await refused(PATH, hello(messages=[{"role": "user", "content": content}])) == (
        400, "BadRequestError", None, "sim is not a multimodal model",
    )  # fmt: skip


@pytest.mark.parametrize("field", [{"tool_choice": "required"}, {"echo": True}, {"logprobs": True}])
async def test_what_is_not_simulated_is_refused_by_name(field: dict[str, Any]) -> None:
    name = next(iter(field))
    assert await refused(PATH, hello(**field)) == (501, "NotImplementedError", name, f"{name} is not simulated")


async def test_the_model_may_be_left_out_and_another_is_not_served() -> None:
    assert (await post(PATH, {"messages": [{"role": "user", "content": "hi"}]})).status == 200
    assert await refused(PATH, hello(model="gpt-9")) == (
        404, "NotFoundError", "model", "The model `gpt-9` does not exist. Valid aliases: sim.",
    )  # fmt: skip


TOO_LONG = (
    "This model's maximum context length is 8 tokens. However, your prompt contains at least 9 input tokens, which "
    "exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
    "(parameter=input_tokens, value=9)"
)


async def test_a_prompt_longer_than_the_context_is_refused_in_vllms_words() -> None:
    small = app(Profile(max_model_len=8))
    assert await refused(PATH, hello(), small) == (
        400,
        "BadRequestError",
        "input_tokens",
        TOO_LONG,
    )


async def test_prompt_and_output_must_fit_together() -> None:
    small = app(Profile(max_model_len=20))
    message = (await refused(PATH, hello(max_tokens=12), small))[3]
    assert message == (
        "This model's maximum context length is 20 tokens. However, you requested 12 output tokens and your prompt "
        "contains at least 9 input tokens, for a total of at least 21 tokens. Please reduce the length of the input "
        "prompt or the number of requested output tokens. (parameter=input_tokens, value=9)"
    )
    _, _, param, message = await refused(PATH, hello(max_completion_tokens=21), small)
    assert param == "max_completion_tokens"
    assert message == (
        "max_completion_tokens=21 cannot be greater than max_model_len=20. Please request fewer output tokens. "
        "(parameter=max_completion_tokens, value=21)"
    )


async def test_an_answer_ends_where_the_context_does() -> None:
    answer = await post_ok(PATH, hello(), app(Profile(max_model_len=20)))
    assert (answer["usage"]["total_tokens"], answer["choices"][0]["finish_reason"]) == (20, "length")


async def test_a_quote_in_an_id_or_a_model_is_escaped() -> None:
    request = asked("POST", PATH, hello(model='m"1'))
    request = ApiRequest("POST", PATH, "", {**request.headers, "x-request-id": 'a"\udce9'}, request.body)
    reply = await app(Profile(model='m"1'))(request)
    assert isinstance(reply, Unary)
    answer = json.loads(reply.body)
    assert (answer["id"], answer["model"]) == ('chatcmpl-a"é', 'm"1')


async def test_words_beyond_ascii_go_out_as_utf_8() -> None:
    bodies = [await post(PATH, hello(messages=[{"role": "user", "content": str(n)}])) for n in range(30)]
    assert any(max(reply.body) > 127 for reply in bodies)
    assert not any(b"\\u" in reply.body for reply in bodies)


async def test_events_come_one_to_a_token() -> None:
    assert len(await events(PATH, hello(stream=True, max_tokens=300, ignore_eos=True))) == 1 + 300 + 1
