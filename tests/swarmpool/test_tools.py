from __future__ import annotations

from typing import Any

import pytest

from swarmpool.tools import ToolCalls, tool_calls_in

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}


def test_the_calls_of_a_message_are_as_they_are() -> None:
    assert tool_calls_in({"tool_calls": [CALL]}) == [CALL]


@pytest.mark.parametrize("message", [None, {}, {"tool_calls": None}, {"tool_calls": "x"}, {"tool_calls": [1, None]}, 3])
def test_what_is_no_call_is_none(message: object) -> None:
    assert tool_calls_in(message) == []


def test_pieces_are_put_together_by_their_index() -> None:
    calls = ToolCalls()
    calls.add([{"index": 1, "id": "b", "type": "function", "function": {"name": "two", "arguments": ""}}])
    calls.add([{"index": 0, "id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x"'}}])
    calls.add([{"index": 0, "function": {"arguments": ": 1}"}}, {"index": 1, "function": {"arguments": "{}"}}])
    assert calls.whole() == [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": "{}"}},
    ]


@pytest.mark.parametrize("piece", [{}, {"index": "x"}, {"function": 3}, {"index": 0, "function": {"arguments": 5}}])
def test_a_piece_of_another_shape_is_taken_for_what_it_has(piece: dict[str, Any]) -> None:
    calls = ToolCalls()
    calls.add([piece])
    assert calls.whole() == [{"id": None, "type": "function", "function": {}}]
