"""A raw agent that speaks as much vLLM as `VLLMPool` asks for, and keeps what it was asked, in order."""

from __future__ import annotations

import json
from typing import Any

from raw_agent import RawAgent, RawConnection, http

__all__ = ["VLLMAgent", "chat_answer", "models_answer"]


def models_answer(name: str = "sim", max_model_len: int | None = 4096) -> bytes:
    """What `GET /v1/models` says."""
    return http(json.dumps({"object": "list", "data": [{"id": name, "max_model_len": max_model_len}]}).encode())


def chat_answer(text: str | None, finish_reason: str = "stop") -> bytes:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    return http(json.dumps({"choices": [choice], "usage": usage}).encode())


class VLLMAgent(RawAgent):
    """Chat answers with the last message, a batch with each prompt; `paths`, `sent` and `heads` are what came.

    `models` is the answer to `/v1/models`; None keeps it back until `tell`. `batch` makes the choices of a batch.
    """

    def __init__(self, *, models: bytes | None = models_answer(), **how: Any) -> None:
        super().__init__(self._route, **how)
        self.models = models
        self.held: list[RawConnection] = []
        self.paths: list[str] = []
        self.sent: list[Any] = []
        self.heads: list[bytes] = []

    def tell(self, models: bytes) -> None:
        """Answer every `/v1/models` that is kept back, and those to come."""
        self.models = models
        held, self.held = self.held, []
        for connection in held:
            connection.write(models)

    def choices(self, prompts: list[str]) -> list[dict[str, Any]]:
        """The choices of a batch's answer."""
        return [{"index": index, "text": text, "finish_reason": "length"} for index, text in enumerate(prompts)]

    def _route(self, connection: RawConnection) -> None:
        path = connection.heads[-1].split(b" ", 2)[1].decode()
        self.paths.append(path)
        self.heads.append(connection.heads[-1])
        if path == "/v1/models":
            self._tell_one(connection)
            return
        body = json.loads(connection.requests[-1])
        self.sent.append(body)
        if path == "/v1/chat/completions":
            connection.write(chat_answer(body["messages"][-1]["content"]))
        else:
            connection.write(http(json.dumps({"choices": self.choices(body["prompt"])}).encode()))

    def _tell_one(self, connection: RawConnection) -> None:
        if self.models is None:
            self.held.append(connection)
        else:
            connection.write(self.models)
