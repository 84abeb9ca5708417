from __future__ import annotations

import json

from asking import app, post, post_ok, refused
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.profile import Profile

PROMPT = "Grüße aus der Flotte,\n  asynchronously yours.\n"


async def test_both_bodies_have_vllms_keys_in_vllms_order() -> None:
    body = (await post("/tokenize", {"prompt": "hi"})).body
    (token,) = json.loads(body)["tokens"]
    assert body == b'{"count":1,"max_model_len":32768,"tokens":[%d],"token_strs":null}' % token
    assert (await post("/detokenize", {"tokens": [token]})).body == b'{"prompt":"hi"}'


@given(prompt=st.text())
async def test_tokens_decode_to_the_text(prompt: str) -> None:
    answer = app()
    tokens = await post_ok("/tokenize", {"prompt": prompt}, answer)
    assert tokens["count"] == len(tokens["tokens"])
    assert (await post_ok("/detokenize", {"tokens": tokens["tokens"]}, answer))["prompt"] == prompt


async def test_token_strings_are_the_text_in_pieces() -> None:
    answer = await post_ok("/tokenize", {"prompt": PROMPT, "return_token_strs": True})
    assert "".join(answer["token_strs"]) == PROMPT
    assert len(answer["token_strs"]) == answer["count"]


async def test_usage_agrees_with_tokenize() -> None:
    completion = await post_ok("/v1/completions", {"prompt": PROMPT, "max_tokens": 30})
    assert (await post_ok("/tokenize", {"prompt": PROMPT}))["count"] == completion["usage"]["prompt_tokens"]
    said = completion["choices"][0]["text"]
    assert (await post_ok("/tokenize", {"prompt": said}))["count"] == completion["usage"]["completion_tokens"] == 30


async def test_the_tokens_of_a_chat_are_those_it_is_billed_for() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]
    chat = await post_ok("/v1/chat/completions", {"messages": messages})
    tokens = await post_ok("/tokenize", {"messages": messages})
    assert tokens["count"] == chat["usage"]["prompt_tokens"]
    text = (await post_ok("/detokenize", {"tokens": tokens["tokens"]}))["prompt"]
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("<|im_start|>assistant\n")


async def test_each_model_has_its_own_ids() -> None:
    other = app(Profile(model="other"))
    ours, theirs = [(await post_ok("/tokenize", {"prompt": "the call"}, answer))["tokens"] for answer in (app(), other)]
    assert ours != theirs
    assert len(ours) == len(theirs)


async def test_what_cannot_be_is_refused() -> None:
    assert (await refused("/tokenize", {}))[1:3] == ("Bad Request", "body.prompt")
    assert (await refused("/detokenize", {"tokens": [1, 60_000]}))[3] == "Token id 60000 is out of vocabulary"
    assert (await refused("/tokenize", {"prompt": "a", "model": "x"}))[0] == 404
    assert "maximum context length is 2 tokens" in (await refused("/detokenize", {"tokens": [1] * 3}, app(SMALL)))[3]
    assert "maximum context length is 2 tokens" in (await refused("/tokenize", {"prompt": "a b c"}, app(SMALL)))[3]


SMALL = Profile(max_model_len=2)
