"""What the bare apps answer: a chat completion with the fields that vLLM's has, and always the same words."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["bare_answer"]

_WORDS = "A pool keeps connections so that nobody has to open one for every request."


def bare_answer(model: str) -> dict[str, Any]:
    """The body for a request that names `model`.

    Its keys are among those of vLLM 0.33, entrypoints/openai/chat_completion/protocol.py.
    """
    message = {"role": "assistant", "content": _WORDS, "refusal": None, "annotations": None, "reasoning": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "service_tier": None,
        "usage": {"prompt_tokens": 64, "total_tokens": 80, "completion_tokens": 16, "prompt_tokens_details": None},
    }
