"""What the built-in adapters of other people's clients share: a chat completion's request, its answer, its events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fleetsim.proofs.client import Options

__all__ = ["DONE", "Answer", "ChatError", "Tally", "event_text", "message_text", "payload"]

DONE = "[DONE]"


class ChatError(ValueError):
    """A whole 2xx answer, or an event of one, that is no chat completion; the message says what it is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended. `attempts`: how often it was sent, where a client sends again."""

    ok: bool
    text: str = ""
    error: str = ""
    attempts: int = 1


@dataclass(slots=True)
class Tally:
    """What can be counted with public means; the rest stays None."""

    opened: int | None = None
    closed: int | None = None
    reused: int | None = None
    open: int | None = None
    idle: int | None = None
    peak_open: int | None = None
    in_flight: int | None = None
    waiting: int | None = None
    peak_in_flight: int | None = None


def payload(options: Options, prompt: str, *, stream: bool) -> dict[str, Any]:
    """The body of one request, as it is before it is written as JSON."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": options.model, "messages": messages, "max_tokens": options.max_tokens, "stream": stream}


def message_text(body: Any) -> str:
    """The text of a chat completion. Raises ChatError for any other JSON."""
    try:
        return str(body["choices"][0]["message"]["content"])
    except (LookupError, TypeError) as error:
        raise ChatError(f"no chat completion: {str(body)[:80]}") from error


def event_text(line: str) -> str | None:
    """The text that one line of a stream of chat completion events adds, empty for none; None for `[DONE]`.

    Raises ChatError for an event that is none of these, such as an error.
    """
    field, _, data = line.strip().partition(":")
    data = data.strip()
    if field != "data" or not data:
        return ""
    if data == DONE:
        return None
    try:
        choices = json.loads(data)["choices"]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ChatError(f"no chat completion event: {data[:80]}") from error
