"""Request bodies: JSON into typed records, and vLLM's words for the bodies that are none.

vLLM reports what pydantic found, as text, in a 400 (never 422): entrypoints/serve/exception_handling/handlers/
validation.py of vLLM 0.33. The records here are msgspec's, which stops at the first error, so it is always one error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from multidict import istr

from fleetsim.api.refusals import RefusalError
from fleetsim.exchange import ApiRequest

__all__ = ["invalid_value", "missing_field", "reader"]

T = TypeVar("T")

_CONTENT_TYPE = istr("content-type")  # looked up faster than a `str`

_MOST_INPUT = 200
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_EXPECTED = re.compile(r"Expected `(?P<wanted>[^`]+)`")
_TOO_LONG = re.compile(r"Expected `array` of length <= (?P<most>\d+)")
_PATH = re.compile(r" - at `\$(?P<path>.*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]")

# What pydantic calls the mistake, by the first type that msgspec expected.
_MISTAKES = {
    "int": ("int_type", "Input should be a valid integer"),
    "float": ("float_type", "Input should be a valid number"),
    "bool": ("bool_type", "Input should be a valid boolean"),
    "str": ("string_type", "Input should be a valid string"),
    "array": ("list_type", "Input should be a valid list"),
    "object": ("model_attributes_type", "Input should be a valid dictionary or object to extract fields from"),
}


def reader(record: type[T]) -> Callable[[ApiRequest], T]:
    """Return the function that reads a request's body as `record`; it raises RefusalError when the body is none."""
    decoder = msgspec.json.Decoder(record, strict=False)

    def read(request: ApiRequest) -> T:
        _require_json(request)
        try:
            return decoder.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _read_again(request.body, record)

    return read


def _require_json(request: ApiRequest) -> None:
    media_type = request.headers.get(_CONTENT_TYPE, "")
    if media_type != "application/json" and media_type.lower().split(";", maxsplit=1)[0] != "application/json":
        raise _report("Unsupported Media Type: Only 'application/json' is allowed", param=None)


def _read_again(body: bytes, record: type[T]) -> T:
    """Say what is wrong with a body, syntax first; or read it after all: NaN is JSON to the parser that vLLM uses."""
    if not body:
        raise _entry("missing", ("body",), "Field required", None)
    try:
        data = json.loads(body)
    except json.JSONDecodeError as error:
        raise _entry("json_invalid", ("body", error.pos), "JSON decode error", {}, {"error": error.msg}) from error
    except (UnicodeDecodeError, RecursionError) as error:
        message = "There was an error parsing the body"
        raise RefusalError(HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.phrase, message) from error
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        message = "Input should be a valid string, unable to parse raw data as a unicode string"
        raise _entry("string_unicode", ("body",), message, data) from error
    try:
        return msgspec.convert(data, record, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error, data) from error


def invalid_value(message: str, sent: msgspec.Struct, *, param: str) -> RefusalError:
    """Return the 400 for a record whose fields contradict each other."""
    context: dict[str, object] = {"error": _Raw(f"VLLMValidationError({message!r})")}
    shown = f"Value error, {message} (parameter={param})"
    return _report(_entry_text("value_error", ("body",), shown, _size(sent), context), param=param)


def missing_field(name: str, sent: msgspec.Struct) -> RefusalError:
    """Return the 400 for a field that `sent` cannot do without."""
    where = ("body", name)
    return _report(_entry_text("missing", where, "Field required", _size(sent), None), param=".".join(where))


def _size(sent: msgspec.Struct) -> str:
    given = sum(getattr(sent, field.name) != field.default for field in msgspec.structs.fields(sent))
    return f"<dict of {given} items>"


class _Raw:
    """Prints as given, as an exception inside pydantic's report does."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _invalid(error: msgspec.ValidationError, data: Any) -> RefusalError:
    text = str(error)
    found = _PATH.search(text)
    steps = _steps(found["path"] if found else "")
    value = _look_up(data, steps)
    if missing := _MISSING.match(text):
        return _entry("missing", ("body", *steps, missing["field"]), "Field required", value)
    if too_long := _TOO_LONG.match(text):
        message = f"List should have at most {too_long['most']} items after validation, not {len(value)}"
        return _entry("too_long", ("body", *steps), message, value)
    wanted = _EXPECTED.match(text)
    first = re.split(r"[ |]", wanted["wanted"])[0] if wanted else ""
    kind, message = _MISTAKES.get(first, ("value_error", f"Value error, {_PATH.sub('', text)}"))
    return _entry(kind, ("body", *steps), message, value)


def _steps(path: str) -> list[str | int]:
    return [step["key"] if step["index"] is None else int(step["index"]) for step in _STEP.finditer(path)]


def _look_up(data: Any, steps: list[str | int]) -> Any:
    for step in steps:
        data = data[step]
    return data


def _entry(
    kind: str, where: tuple[str | int, ...], message: str, value: object, context: dict[str, object] | None = None
) -> RefusalError:
    text = _entry_text(kind, where, message, _summary(value), context)
    return _report(text, param=".".join(map(str, where)))


def _entry_text(
    kind: str, where: tuple[str | int, ...], message: str, value: str, context: dict[str, object] | None
) -> str:
    entry: dict[str, object] = {"type": kind, "loc": ".".join(map(str, where)), "msg": message, "input": value}
    return str(entry | ({"ctx": context} if context else {}))


def _summary(value: object) -> str:
    if isinstance(value, (list, dict)):
        return f"<{type(value).__name__} of {len(value)} items>"
    text = str(value)
    return text if len(text) <= _MOST_INPUT else f"{text[:_MOST_INPUT]}...[truncated]"


def _report(entry: str, *, param: str | None) -> RefusalError:
    message = f"1 validation error:\n  {entry}"
    return RefusalError(HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.phrase, message, param=param)
