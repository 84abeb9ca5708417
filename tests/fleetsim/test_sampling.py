from __future__ import annotations

from typing import Any

import msgspec
import pytest
from asking import app, post, refused

from fleetsim.api.refusals import RefusalError
from fleetsim.api.sampling import Sampling, StreamOptions, check_sampling
from fleetsim.profile import Profile

LONG = app(Profile(max_model_len=100_000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0."),
        ({"n": 16_385}, "n must be at most 16384, got 16385. To increase this limit, set the VLLM_MAX_N_SEQUENCES"),
        ({"n": 2, "temperature": 0}, "n must be 1 when using greedy sampling, got 2."),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"),
        ({"max_tokens": -5}, "max_tokens must be at least 1, got -5. (parameter=max_tokens, value=-5)"),
        ({"min_tokens": -1}, "min_tokens must be greater than or equal to 0, got -1."),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens must be less than or equal to max_tokens=8, got 9."),
        ({"temperature": -1}, "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)"),
        ({"temperature": 2.5}, "temperature must be in [0, 2], got 2.5. (parameter=temperature, value=2.5)"),
        ({"top_p": 0}, "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)"),
        ({"presence_penalty": 3}, "presence_penalty must be in [-2, 2], got 3.0."),
        ({"frequency_penalty": -3}, "frequency_penalty must be in [-2, 2], got -3.0."),
        ({"repetition_penalty": 0}, "repetition_penalty must be greater than zero, got 0.0."),
        ({"stop": ["a", ""]}, "stop cannot contain an empty string."),
    ],
    ids=str,
)
async def test_a_value_out_of_range_is_refused_in_vllms_words(fields: dict[str, Any], message: str) -> None:
    for path, prompt in (("/v1/completions", {"prompt": "hi"}), ("/generate", {"prompt": "hi"})):
        status, kind, _, said = await refused(path, prompt | fields, LONG)
        assert (status, kind) == (400, "BadRequestError")
        assert said.startswith(message)


@pytest.mark.parametrize(
    "fields",
    [
        *({"n": n} for n in (None, 1, 8)),
        *({"temperature": t} for t in (None, 0, 2)),
        {"n": 2, "temperature": 0.5},
        {"stop": None},
        {"stop": []},
        {"stop": "x"},
        {"min_tokens": 8, "max_tokens": 8},
        {"top_p": 1, "presence_penalty": -2, "frequency_penalty": 2, "repetition_penalty": 0.1},
    ],
    ids=str,
)
async def test_a_value_in_range_is_taken(fields: dict[str, Any]) -> None:
    assert (await post("/v1/completions", {"prompt": "hi"} | fields)).status == 200


async def test_nan_is_no_temperature() -> None:
    refusal = await refused("/v1/completions", b'{"prompt":"hi","temperature":NaN}')
    assert refusal[3] == "temperature must be a finite number, got nan. (parameter=temperature, value=nan)"


@pytest.mark.parametrize("name", ["logprobs", "prompt_logprobs", "return_token_ids", "use_beam_search"])
def test_what_is_not_simulated_is_refused_by_name(name: str) -> None:
    with pytest.raises(RefusalError) as caught:
        check_sampling(msgspec.convert({name: 1}, Sampling, strict=False), 5)
    assert (caught.value.status, caught.value.param) == (501, name)


def test_usage_is_given_as_asked_for() -> None:
    assert Sampling().usage_asked() == (False, False)
    assert Sampling(stream_options=StreamOptions()).usage_asked() == (True, False)
    assert Sampling(stream_options=StreamOptions(continuous_usage_stats=True)).usage_asked() == (True, True)
    assert Sampling(stream_options=StreamOptions(False, True)).usage_asked() == (False, False)
