from __future__ import annotations

import json

import pytest
from asking import app, chunks, events, post, refused

from fleetsim.profile import Profile

FIVE = app(Profile(output_tokens=5))


async def test_a_prompt_is_answered_with_a_response() -> None:
    reply = await post("/generate", {"prompt": "hello"}, FIVE)
    assert list(json.loads(reply.body)) == ["response"]
    assert reply.body == b'{"response":"Spielen vielleicht Wohnung nach rennen"}'


async def test_a_stream_says_the_same_and_why_it_ends() -> None:
    sent = await events("/generate", {"prompt": "hello", "stream": True}, FIVE)
    assert sent[0] == b'data: {"text":"Spielen"}\n\n'
    assert sent[-2:] == [b'data: {"text":" rennen","finish_reason":"stop"}\n\n', b"data: [DONE]\n\n"]
    said = await chunks("/generate", {"prompt": "hello", "stream": True}, FIVE)
    assert "".join(chunk["text"] for chunk in said) == "Spielen vielleicht Wohnung nach rennen"


@pytest.mark.parametrize("tokens", [1, 3])
async def test_a_limit_cuts_it(tokens: int) -> None:
    said = await chunks("/generate", {"prompt": "hello", "stream": True, "max_tokens": tokens}, FIVE)
    assert len(said) == tokens
    assert said[-1]["finish_reason"] == "length"


async def test_a_request_without_a_prompt_is_refused() -> None:
    assert (await refused("/generate", {"text": "hi"}))[:3] == (400, "Bad Request", "body.prompt")
