from __future__ import annotations

from typing import Any

import pytest
from asking import post, refused

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]


async def refusal_of(body: Any) -> tuple[str, str | None]:
    status, kind, param, message = await refused(PATH, body)
    assert (status, kind) == (400, "Bad Request")
    head, entry = message.split("\n  ", maxsplit=1)
    assert head == "1 validation error:"
    return entry, param


def report(kind: str, where: str, message: str, value: str, context: str = "") -> tuple[str, str]:
    return f"{{'type': '{kind}', 'loc': '{where}', 'msg': '{message}', 'input': '{value}'{context}}}", where


NO_JSON = ", 'ctx': {'error': 'Expecting property name enclosed in double quotes'}"
NO_STRING = report("string_type", "body.messages.0.role", "Input should be a valid string", "5")
NO_UNICODE = "Input should be a valid string, unable to parse raw data as a unicode string"
NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
TOO_MANY = "List should have at most 4 items after validation, not 5"

BODIES: dict[str, tuple[Any, tuple[str, str]]] = {
    "no json": (b"{nope", report("json_invalid", "body.1", "JSON decode error", "<dict of 0 items>", NO_JSON)),
    "empty": (b"", report("missing", "body", "Field required", "None")),
    "missing": ({"model": "sim"}, report("missing", "body.messages", "Field required", "<dict of 1 items>")),
    "list": ({"messages": "hi"}, report("list_type", "body.messages", "Input should be a valid list", "hi")),
    "string": ({"messages": [{"role": 5}]}, NO_STRING),
    "string beside NaN": (b'{"messages":[{"role":5}],"x":NaN}', NO_STRING),
    "integer": (
        {"messages": HI, "max_tokens": "lots"},
        report("int_type", "body.max_tokens", "Input should be a valid integer", "lots"),
    ),
    "too long": (
        {"messages": HI, "stop": list("abcde")},
        report("too_long", "body.stop", TOO_MANY, "<list of 5 items>"),
    ),
    "object": ([1, 2], report("model_attributes_type", "body", NO_OBJECT, "<list of 2 items>")),
    "unicode": (b'{"messages":["\\ud800"]}', report("string_unicode", "body", NO_UNICODE, "<dict of 1 items>")),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_none_gets_pydantics_report(body: Any, expected: tuple[str, str]) -> None:
    assert await refusal_of(body) == expected


async def test_fields_that_contradict_each_other_get_pydantics_report_too() -> None:
    message = "Stream options can only be defined when `stream=True`."
    context = f", 'ctx': {{'error': VLLMValidationError('{message}')}}"
    shown = f"Value error, {message} (parameter=stream_options)"
    expected, _ = report("value_error", "body", shown, "<dict of 2 items>", context)
    assert await refusal_of({"messages": HI, "stream_options": {"include_usage": True}}) == (expected, "stream_options")


async def test_a_long_value_is_cut_in_the_report() -> None:
    entry, _ = await refusal_of({"messages": HI, "max_tokens": "x" * 500})
    assert f"'input': '{'x' * 200}...[truncated]'" in entry


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_a_body_of_another_type_is_refused(content_type: str) -> None:
    assert await refused(PATH, {"messages": HI}, headers={"content-type": content_type}) == (
        400,
        "Bad Request",
        None,
        "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
    )


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_by_any_spelling_is_read(content_type: str) -> None:
    assert (await post(PATH, {"messages": HI}, headers={"content-type": content_type})).status == 200


@pytest.mark.parametrize("body", [b'{"messages":"\xff\xfe\xfd"}', b"[" * 100_000], ids=["no text", "too deep"])
async def test_bytes_beyond_parsing_are_refused(body: bytes) -> None:
    refusal = await refused(PATH, body)
    assert refusal == (400, "Bad Request", None, "There was an error parsing the body")


@pytest.mark.parametrize(
    "fields", [b'"x":NaN', b'"max_tokens":"7"', b'"unheard_of":{"a":[1]}', b'"n":1.0', b'"stop":null']
)
async def test_what_pydantic_takes_is_taken(fields: bytes) -> None:
    reply = await post(PATH, b'{"messages":[{"role":"user","content":"hi"}],' + fields + b"}")
    assert reply.status == 200, reply.body
