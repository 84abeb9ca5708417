from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest
from asking import app, post, post_ok, refused, timeless

from fleetsim.profile import Profile

PATH = "/v1/embeddings"


async def test_an_answer_is_vllms_to_the_byte() -> None:
    small = app(Profile(embedding_dimensions=2))
    reply = await post(PATH, {"input": "hi", "request_id": "me", "encoding_format": "base64"}, small)
    assert timeless(reply.body) == (
        b'{"id":"embd-me","object":"list","created":T,"model":"sim","data":[{"index":0,"object":"embedding",'
        b'"embedding":"jo0bvxVSS78="}],"usage":{"prompt_tokens":1,"total_tokens":1,"completion_tokens":0,'
        b'"prompt_tokens_details":null,"completion_tokens_details":null}}'
    )


async def test_a_vector_has_the_profiles_length_and_norm_one() -> None:
    answer = await post_ok(PATH, {"input": "hi"})
    vector = answer["data"][0]["embedding"]
    assert len(vector) == 384
    assert math.hypot(*vector) == pytest.approx(1)


async def test_both_encodings_carry_the_same_floats() -> None:
    floats = (await post_ok(PATH, {"input": "hi"}))["data"][0]["embedding"]
    packed = (await post_ok(PATH, {"input": "hi", "encoding_format": "base64"}))["data"][0]["embedding"]
    assert list(struct.unpack("<384f", base64.b64decode(packed))) == floats


async def test_the_same_text_gives_the_same_vector_and_another_text_another() -> None:
    answer = await post_ok(PATH, {"input": ["a", "b", "a"]})
    first, second, third = (datum["embedding"] for datum in answer["data"])
    assert first == third != second
    assert [datum["index"] for datum in answer["data"]] == [0, 1, 2]
    assert answer["usage"]["prompt_tokens"] == 3
    assert (await post_ok(PATH, {"input": "a"}, app(seed=2)))["data"][0]["embedding"] != first


async def test_fewer_dimensions_may_be_asked_for() -> None:
    vector = (await post_ok(PATH, {"input": "a", "dimensions": 5}))["data"][0]["embedding"]
    assert len(vector) == 5
    assert math.hypot(*vector) == pytest.approx(1)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"input": []}, 400, "input must not be empty."),
        ({"input": ["a", 1]}, 400, "input: expected a string, a list of strings"),
        ({"dimensions": 385}, 400, "dimensions must be between 1 and 384, got 385."),
        ({"encoding_format": "hex"}, 400, "Invalid enum value 'hex'"),
        ({"model": "x"}, 404, "The model `x` does not exist."),
        ({"input": "word " * 40_000}, 400, "This model's maximum context length is 32768 tokens."),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_cannot_be_is_refused(fields: dict[str, Any], status: int, message: str) -> None:
    refusal = await refused(PATH, {"input": "a", **fields})
    assert refusal[0] == status
    assert message in refusal[3]
