"""What a client may ask of a generation, and vLLM's checks of it (vLLM 0.33: sampling_params.py)."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from fleetsim.api.bodies import invalid_value
from fleetsim.api.refusals import bad_parameter, not_simulated

__all__ = ["Sampling", "StreamOptions", "check_sampling", "check_stream_options"]

_MOST_SEQUENCES = 16_384  # VLLM_MAX_N_SEQUENCES
_GREEDY = 1e-5  # _SAMPLING_EPS

StopList = Annotated[list[str], msgspec.Meta(max_length=4)]


class StreamOptions(msgspec.Struct):
    """`continuous_usage_stats` counts only beside `include_usage`."""

    include_usage: bool | None = True
    continuous_usage_stats: bool | None = False


class Sampling(msgspec.Struct, kw_only=True):
    """The fields that chat and plain completions share. Fields not named here change nothing, as in vLLM."""

    model: str | None = None
    max_tokens: int | None = None
    n: int | None = 1
    stop: str | StopList | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    use_beam_search: bool = False
    prompt_logprobs: int | None = None
    return_token_ids: bool | None = None
    request_id: str | None = None
    logprobs: Any = None

    def sequences(self) -> int:
        """How many answers each prompt gets."""
        return 1 if self.n is None else self.n

    def stop_strings(self) -> list[str]:
        """The texts at which an answer ends."""
        if not self.stop:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    def usage_asked(self) -> tuple[bool, bool]:
        """Whether a stream ends with a usage event, and whether each event carries usage."""
        options = self.stream_options
        if options is None or not options.include_usage:
            return False, False
        return True, bool(options.continuous_usage_stats)


def check_sampling(asked: Sampling, limit: int) -> None:
    """Raise RefusalError for a field out of range. `limit` is the output's greatest length in tokens."""
    _check_simulated(asked)
    _check_counts(asked, limit)
    _check_penalties(asked)
    if asked.temperature is not None:
        _check_temperature(asked.temperature)
    if asked.top_p is not None and not 0.0 < asked.top_p <= 1.0:
        raise bad_parameter(f"top_p must be in (0, 1], got {asked.top_p}.", param="top_p", value=asked.top_p)
    if asked.temperature is not None and asked.temperature < _GREEDY and asked.sequences() > 1:
        raise bad_parameter(f"n must be 1 when using greedy sampling, got {asked.n}.")
    if asked.stop and "" in asked.stop_strings():
        raise bad_parameter("stop cannot contain an empty string.")


def check_stream_options(asked: Sampling) -> None:
    """Raise RefusalError for stream options on a request that is not streamed."""
    if asked.stream_options is not None and not asked.stream:
        message = "Stream options can only be defined when `stream=True`."
        raise invalid_value(message, asked, param="stream_options")


def _check_simulated(asked: Sampling) -> None:
    if asked.logprobs is not None and asked.logprobs is not False:
        raise not_simulated("logprobs")
    if asked.prompt_logprobs is not None:
        raise not_simulated("prompt_logprobs")
    if asked.return_token_ids:
        raise not_simulated("return_token_ids")
    if asked.use_beam_search:
        raise not_simulated("use_beam_search")


def _check_counts(asked: Sampling, limit: int) -> None:
    n = asked.sequences()
    if n < 1:
        raise bad_parameter(f"n must be at least 1, got {n}.")
    if n > _MOST_SEQUENCES:
        raise bad_parameter(
            f"n must be at most {_MOST_SEQUENCES}, got {n}. "
            "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        )
    if limit < 1:
        raise bad_parameter(f"max_tokens must be at least 1, got {limit}.", param="max_tokens", value=limit)
    if asked.min_tokens < 0:
        raise bad_parameter(f"min_tokens must be greater than or equal to 0, got {asked.min_tokens}.")
    if asked.min_tokens > limit:
        raise bad_parameter(f"min_tokens must be less than or equal to max_tokens={limit}, got {asked.min_tokens}.")


def _check_penalties(asked: Sampling) -> None:
    if asked.presence_penalty is not None:
        _check_penalty("presence_penalty", asked.presence_penalty)
    if asked.frequency_penalty is not None:
        _check_penalty("frequency_penalty", asked.frequency_penalty)
    repetition = asked.repetition_penalty
    if repetition is not None and not repetition > 0.0:
        raise bad_parameter(f"repetition_penalty must be greater than zero, got {repetition}.")


def _check_penalty(name: str, value: float) -> None:
    if not -2.0 <= value <= 2.0:
        raise bad_parameter(f"{name} must be in [-2, 2], got {value}.")


def _check_temperature(temperature: float) -> None:
    if 0.0 <= temperature <= 2.0:
        return
    if not math.isfinite(temperature):
        rule = "a finite number"
    elif temperature < 0.0:
        rule = "non-negative"
    else:
        rule = "in [0, 2]"
    raise bad_parameter(f"temperature must be {rule}, got {temperature}.", param="temperature", value=temperature)
