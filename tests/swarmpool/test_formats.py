from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarmpool.formats import (
    Delta,
    ErrorEvent,
    ModelCard,
    Reply,
    ShapeError,
    chat_body,
    completions_body,
    embeddings_body,
    encode,
    generate_body,
    read_chat,
    read_chat_delta,
    read_completions,
    read_embeddings,
    read_generate,
    read_generate_delta,
    read_models,
)
from swarmpool.responses import TokenUsage

READERS: dict[str, Callable[[bytes], object]] = {
    "generate": read_generate,
    "generate_delta": read_generate_delta,
    "chat": read_chat,
    "chat_delta": read_chat_delta,
    "completions": lambda body: read_completions(body, 3),
    "embeddings": lambda body: read_embeddings(body, 3),
    "models": read_models,
}
NAMES = [
    "choices", "index", "message", "delta", "content", "text", "response", "usage", "prompt_tokens", "error", "data",
    "completion_tokens", "finish_reason", "id", "max_model_len", "detail", "embedding",
]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([0, 1, -1])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=20,
)


def body(value: object) -> bytes:
    return json.dumps(value).encode()


def chat(content: object, **choice: object) -> bytes:
    return body({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, **choice}]})


# ------------------------------------------------------------------------------------------------ any bytes at all


def outcome(read: Callable[[bytes], object], data: bytes) -> object:
    """What `read` returns or why it refuses; anything but its two ways of refusing is raised."""
    try:
        return read(data)
    except (ShapeError, ErrorEvent) as refusal:
        return refusal


@given(value=VALUES)
def test_any_json_is_read_or_refused_in_a_word(value: object) -> None:
    for read in READERS.values():
        result = outcome(read, body(value))
        assert not isinstance(result, ShapeError) or str(result)


@given(data=st.binary(max_size=40))
@example(b"")
@example(b"\xff\xfe{")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_read_or_refused_in_a_word(data: bytes) -> None:
    for read in READERS.values():
        result = outcome(read, data)
        assert not isinstance(result, ShapeError) or str(result)


@pytest.mark.parametrize("start", [b"9" * 5_000, b"[" * 100_000], ids=["9", "["])
@pytest.mark.parametrize("read", READERS)
def test_what_cannot_be_parsed_for_its_size_is_refused(read: str, start: bytes) -> None:
    with pytest.raises(ShapeError):
        READERS[read](start)


def test_what_is_not_json_is_shown_by_its_beginning() -> None:
    with pytest.raises(ShapeError, match=r"^the body is not JSON \(.+\); it begins '<html>502x+'$"):
        read_chat(b"<html>502" + b"x" * 500)


def test_an_error_event_as_deep_as_can_be_read_can_be_told() -> None:
    """Reading and writing JSON recurse, each to a depth of its own."""

    def tell(depth: int) -> type[Exception] | None:
        try:
            read_chat_delta(b'{"error":' + b"[" * depth + b"]" * depth + b"}")
        except (ShapeError, ErrorEvent) as error:
            return type(error)
        return None

    readable, refused = 1, 1 << 18
    assert tell(refused) is ShapeError
    while refused - readable > 1:
        middle = (readable + refused) // 2
        readable, refused = (middle, refused) if tell(middle) is ErrorEvent else (readable, middle)
    for depth in range(max(1, readable - 20), readable + 20):
        assert tell(depth) in (ErrorEvent, ShapeError)


# ------------------------------------------------------------------------------------------------ requests


def test_requests_carry_what_was_given_and_sampling_has_the_last_word() -> None:
    assert generate_body("hi", None, {}) == {"prompt": "hi"}
    assert generate_body("hi", 0, {"seed": 7}) == {"prompt": "hi", "max_tokens": 0, "seed": 7}
    message = {"role": "user", "content": "hi"}
    assert chat_body("sim", [message], 5, {"max_tokens": 9, "top_p": 0.5}) == {
        "model": "sim",
        "messages": [message],
        "max_tokens": 9,
        "top_p": 0.5,
    }
    assert completions_body("sim", ("a", "b"), 5, {}) == {"model": "sim", "prompt": ["a", "b"], "max_tokens": 5}


def test_a_body_is_compact_ascii_and_a_lone_surrogate_does_not_fail() -> None:
    assert encode({"prompt": "é\ud800", "n": [1, 2]}) == b'{"prompt":"\\u00e9\\ud800","n":[1,2]}'


# ------------------------------------------------------------------------------------------------ plain agents


@pytest.mark.parametrize("key", ["response", "text"])
def test_a_plain_agent_may_answer_under_either_name(key: str) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    answer = body({key: "hello", "finish_reason": "stop", "usage": usage})
    assert read_generate(answer) == Reply("hello", "stop", TokenUsage(1, 2, 3))
    assert read_generate_delta(answer) == Delta("hello", "stop", TokenUsage(1, 2, 3))


def test_an_empty_answer_is_an_answer() -> None:
    assert read_generate(body({"response": ""})) == Reply("")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"output": "x"}, r"^the answer has neither `response` nor `text` as a string; its keys are \['output'\]$"),
        ({"response": 7, "text": None}, r"neither `response` nor `text` as a string"),
        (["x"], r"^the body is a JSON list, not an object$"),
        (None, r"^the body is a JSON NoneType, not an object$"),
    ],
)
def test_a_plain_answer_without_text_is_refused(answer: object, complaint: str) -> None:
    with pytest.raises(ShapeError, match=complaint):
        read_generate(body(answer))


# ------------------------------------------------------------------------------------------------ chat


def test_a_chat_completion_is_read() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": None, "total_tokens": 4, "prompt_tokens_details": None}
    answer = json.loads(chat("hello", finish_reason="length"))
    assert read_chat(body({**answer, "usage": usage})) == Reply("hello", "length", TokenUsage(4, 0, 4))


def test_null_content_is_an_answer_without_text() -> None:
    assert read_chat(chat(None, finish_reason="tool_calls")) == Reply("", "tool_calls")


@pytest.mark.parametrize(("content", "kind"), [(7, "int"), (["x"], "list"), ({"text": "x"}, "dict"), (True, "bool")])
def test_content_that_is_neither_text_nor_null_is_refused(content: object, kind: str) -> None:
    with pytest.raises(ShapeError) as caught:
        read_chat(chat(content))
    assert str(caught.value) == f"choices[0].message.content is a JSON {kind}, neither text nor null"


@pytest.mark.parametrize("message", [None, "x", ["x"], 7])
def test_a_choice_without_a_message_is_refused(message: object) -> None:
    with pytest.raises(ShapeError, match=r"^choices\[0\] has no message; its keys are \['index', 'message'\]$"):
        read_chat(body({"choices": [{"index": 0, "message": message}]}))


@pytest.mark.parametrize("choices", [None, [], {}, ["x"], "x"])
def test_an_answer_without_choices_is_refused(choices: object) -> None:
    with pytest.raises(ShapeError, match=r"^the answer has no list of choices; its keys are \['choices', 'id'\]$"):
        read_chat(body({"id": "x", "choices": choices}))


@pytest.mark.parametrize(
    "usage", [7, [], {"prompt_tokens": "4"}, {"completion_tokens": 1.5}, {"total_tokens": True}, {"total_tokens": -1}]
)
def test_usage_that_is_no_counts_is_left_out(usage: object) -> None:
    answer = json.loads(chat("hello"))
    assert read_chat(body({**answer, "usage": usage})) == Reply("hello")


# ------------------------------------------------------------------------------------------------ batches


def completions(*choices: tuple[object, object]) -> bytes:
    return body({"choices": [{"index": index, "text": text} for index, text in choices]})


def test_answers_are_placed_by_their_index() -> None:
    answer = completions((2, "c"), (0, "a"), (1, "b"))
    assert read_completions(answer, 3) == [Reply("a"), Reply("b"), Reply("c")]


def test_a_missing_answer_leaves_its_place_empty() -> None:
    assert read_completions(completions((2, "c"), (0, "a")), 3) == [Reply("a"), None, Reply("c")]


@pytest.mark.parametrize("index", [-1, 3, None, "0", 0.0, True])
def test_an_index_that_is_no_prompts_is_left_out(index: object) -> None:
    assert read_completions(completions((index, "stray"), (2, "c")), 3) == [None, None, Reply("c")]


def test_the_first_of_two_answers_to_one_prompt_is_taken() -> None:
    assert read_completions(completions((0, "first"), (0, "second")), 1) == [Reply("first")]


def test_text_that_is_no_string_is_missing() -> None:
    assert read_completions(completions((0, None), (1, 7)), 2) == [None, None]


@pytest.mark.parametrize(("prompts", "usage"), [(1, TokenUsage(3, 4, 7)), (2, None)])
def test_usage_belongs_to_a_prompt_only_where_there_is_one(prompts: int, usage: TokenUsage | None) -> None:
    sums = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    answer = body({"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}], "usage": sums})
    assert read_completions(answer, prompts)[0] == Reply("a", "stop", usage)


@given(order=st.permutations(range(6)), missing=st.sets(st.integers(0, 5)))
def test_any_order_and_any_subset_is_placed(order: list[int], missing: set[int]) -> None:
    if len(missing) < 6:
        answer = completions(*((index, f"t{index}") for index in order if index not in missing))
        expected = [None if index in missing else Reply(f"t{index}") for index in range(6)]
        assert read_completions(answer, 6) == expected


# ------------------------------------------------------------------------------------------------ streams


def test_an_event_adds_its_text() -> None:
    event = {"choices": [{"index": 0, "delta": {"content": "he"}, "finish_reason": None}]}
    assert read_chat_delta(body(event)) == Delta("he")


def test_a_running_count_of_tokens_is_read() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    event = {"choices": [{"index": 0, "delta": {"content": "he"}, "finish_reason": "stop"}], "usage": usage}
    assert read_chat_delta(body(event)) == Delta("he", "stop", TokenUsage(3, 2, 5), 2)


def test_the_usage_event_has_no_choices() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert read_chat_delta(body({"choices": [], "usage": usage})) == Delta("", None, TokenUsage(3, 2, 5), 2)


@pytest.mark.parametrize("delta", [{}, {"role": "assistant"}, {"content": None}, None, {"tool_calls": []}])
def test_a_delta_without_content_adds_nothing(delta: object) -> None:
    assert read_chat_delta(body({"choices": [{"index": 0, "delta": delta}]})) == Delta()


def test_only_the_first_choice_has_a_say() -> None:
    choices: list[Any] = [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]
    assert read_chat_delta(body({"choices": choices})) == Delta("yes")
    assert read_chat_delta(body({"choices": choices[:1]})) == Delta()


def test_an_event_without_choices_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"^an event has no list of choices$"):
        read_chat_delta(b"{}")


@pytest.mark.parametrize("read", [read_chat_delta, read_generate_delta])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "engine dead", "code": 500}, "engine dead"),
        ("slow down", "slow down"),
        ({"code": 500}, '{"code": 500}'),
        ([1], "[1]"),
        (False, "false"),
    ],
)
def test_an_error_inside_a_stream_is_told_in_the_servers_words(
    read: Callable[[bytes], Delta], error: object, message: str
) -> None:
    with pytest.raises(ErrorEvent) as caught:
        read(body({"error": error, "choices": []}))
    assert str(caught.value) == message


def test_a_null_error_is_none() -> None:
    assert read_chat_delta(body({"error": None, "choices": []})) == Delta()


# ------------------------------------------------------------------------------------------------ models


@pytest.mark.parametrize(
    ("length", "read"), [(4096, 4096), (None, None), (0, None), (-1, None), ("x", None), (True, None)]
)
def test_the_first_model_and_its_context_are_read(length: object, read: int | None) -> None:
    models = {"object": "list", "data": [{"id": "sim", "max_model_len": length}, {"id": "other"}]}
    assert read_models(body(models)) == ModelCard("sim", read)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "/v1/models lists no model"),
        ([], "/v1/models lists no model"),
        (["sim"], "/v1/models lists no model"),
        ([{"id": None}], "the first model of /v1/models has no id"),
    ],
)
def test_a_list_without_a_model_is_refused(data: object, complaint: str) -> None:
    with pytest.raises(ShapeError) as caught:
        read_models(body({"data": data}))
    assert str(caught.value) == complaint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_value_that_json_has_no_form_for_is_refused_by_name(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match="temperature cannot be sent as JSON"):
        encode({"prompt": "hi", "temperature": value})


# ------------------------------------------------------------------------------------------------ embeddings


def data(*entries: object) -> bytes:
    return body({"object": "list", "data": entries})


def test_a_request_to_embed_names_the_model_only_if_there_is_one() -> None:
    assert embeddings_body("m", ["a"], "float", {"dimensions": 2}) == {
        "model": "m",
        "input": ["a"],
        "encoding_format": "float",
        "dimensions": 2,
    }
    assert "model" not in embeddings_body(None, ["a"], "float", {})


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_both_encodings_of_a_vector_give_the_same_numbers(vector: list[float]) -> None:
    packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    assert read_embeddings(data({"index": 0, "embedding": packed}), 1)[0] == [vector]
    assert read_embeddings(data({"index": 0, "embedding": vector}), 1)[0] == [vector]


@given(st.permutations(range(5)), st.integers(1, 6))
def test_vectors_are_placed_by_their_index_in_any_order(order: list[int], texts: int) -> None:
    vectors, _ = read_embeddings(data(*({"index": index, "embedding": [index, 0.5]} for index in order)), texts)
    assert vectors == [[float(index), 0.5] if index < 5 else None for index in range(texts)]


def test_of_two_vectors_for_one_text_the_first_counts_and_strangers_do_not() -> None:
    entries = [{"index": index, "embedding": [number]} for number, index in enumerate([1, 1, 7, -1, True, None])]
    assert read_embeddings(data(*entries), 3)[0] == [None, [0.0], None]


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (None, "it is a JSON NoneType, neither a list nor text"),
        ({}, "it is a JSON dict, neither a list nor text"),
        ([1, "2"], "not all of it are numbers"),
        ([1, True], "not all of it are numbers"),
        ([10**400], "int too large to convert to float"),
        ("AAA", "Incorrect padding"),
        ("AA=A", "Discontinuous padding not allowed|Excess data after padding"),
        ("AAA=", "2 bytes are no whole number of 32-bit floats"),
        ("\u20ac", "string argument should contain only ASCII characters"),
        ([], "its embedding is empty"),
        ("", "its embedding is empty"),
    ],
)
def test_a_vector_that_cannot_be_read_is_its_own_texts_trouble_alone(vector: object, message: str) -> None:
    vectors, _ = read_embeddings(data({"index": 0, "embedding": vector}, {"index": 1, "embedding": [1]}), 2)
    assert isinstance(vectors[0], ShapeError)
    assert re.search(message, str(vectors[0]))
    assert vectors[1] == [1.0]


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"data": {}}', b'{"data": [1]}', b"nope"])
def test_an_answer_without_a_list_of_data_is_no_embedding(answer: bytes) -> None:
    with pytest.raises(ShapeError):
        read_embeddings(answer, 1)


def test_the_usage_of_embeddings_is_that_of_them_all() -> None:
    answer = {"data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3, "completion_tokens": 0}}
    assert read_embeddings(body(answer), 1) == ([None], TokenUsage(3, 0, 3))
