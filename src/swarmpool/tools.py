"""Tool calls in answers: as a whole message has them, and put together from the pieces of a stream. Pure.

The shapes are OpenAI's (`chat.completion.chunk`, `choices[].delta.tool_calls`), which vLLM 0.33 sends: the first piece
of a call has its `index`, `id`, `type` and `function.name`, the others its `index` and a part of `function.arguments`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ToolCall", "ToolCalls", "tool_calls_in"]

ToolCall = dict[str, Any]
"""`{"id", "type", "function": {"name", "arguments"}}`; `arguments` is JSON, as text, as the model wrote it."""


def tool_calls_in(message: Any) -> list[ToolCall]:
    """The tool calls of a message or a delta that are objects; anything else there is left out."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


class ToolCalls:
    """Puts the calls of a stream together."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}

    def add(self, pieces: list[ToolCall]) -> None:
        """Take what one event has of them."""
        for piece in pieces:
            index = piece.get("index")
            place = index if isinstance(index, int) else len(self._calls)
            call = self._calls.setdefault(place, {"id": None, "type": "function", "function": {}})
            for key in ("id", "type"):
                if isinstance(piece.get(key), str):
                    call[key] = piece[key]
            self._add_function(call["function"], piece.get("function"))

    def whole(self) -> list[ToolCall]:
        """The calls so far, in the order of their indices."""
        return [self._calls[index] for index in sorted(self._calls)]

    def _add_function(self, function: dict[str, Any], piece: Any) -> None:
        if not isinstance(piece, dict):
            return
        if isinstance(piece.get("name"), str):
            function["name"] = function.get("name", "") + piece["name"]
        if isinstance(piece.get("arguments"), str):
            function["arguments"] = function.get("arguments", "") + piece["arguments"]
