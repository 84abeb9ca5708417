from __future__ import annotations

from typing import Any

import pytest

from fleetsim.proofs.chat import ChatError, event_text, message_text, payload
from fleetsim.proofs.client import Options


def test_a_request_carries_the_prompt_and_what_the_options_say() -> None:
    assert payload(Options(model="m", max_tokens=3), "hello", stream=True) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 3,
        "stream": True,
    }


def test_the_text_is_the_first_choices_message() -> None:
    assert message_text({"choices": [{"message": {"content": "hi"}}]}) == "hi"


@pytest.mark.parametrize("body", [{"unsolicited": True}, {"choices": []}, [], None, "text", {"choices": [{}]}])
def test_any_other_body_is_no_chat_completion(body: Any) -> None:
    with pytest.raises(ChatError, match="no chat completion: "):
        message_text(body)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('data: {"choices":[{"delta":{"content":"hi"}}]}\n', "hi"),
        ('data:{"choices":[{"delta":{"content":"hi"}}]}', "hi"),
        ('data: {"choices":[{"delta":{}}]}', ""),
        ('data: {"choices":[]}', ""),
        (": keep-alive\n", ""),
        ("\n", ""),
        ("data:", ""),
        ("event: message", ""),
        ("data: [DONE]\n", None),
        ("data:[DONE]", None),
    ],
)
def test_a_line_of_a_stream_adds_its_text_and_done_ends_it(line: str, text: str | None) -> None:
    assert event_text(line) == text


@pytest.mark.parametrize("data", ['{"error":{"message":"dead"}}', '{"choices":[{"del', "1", '{"choices":[1]}'])
def test_an_event_that_is_none_is_an_error(data: str) -> None:
    with pytest.raises(ChatError, match="no chat completion event: "):
        event_text(f"data: {data}")
