"""What an engine may do at once: the settings of vLLM's scheduler and cache, by vLLM's names."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

__all__ = ["EngineLimits", "QueueFullError", "QueueLimit"]


class QueueLimit(enum.Enum):
    """Why a request is not queued; the values are the reasons in vLLM's `vllm:admission_rejections`."""

    REQUESTS = "max_num_queued_reqs"
    TOKENS = "max_num_queued_tokens"


class QueueFullError(Exception):
    """A request was not queued, and nothing changed. `limit` says which limit refused it."""

    def __init__(self, limit: QueueLimit, allowed: int, queued: int) -> None:
        super().__init__(f"{limit.value}: at most {allowed}, and there are {queued}")
        self.limit = limit


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one engine, in tokens, sequences and blocks; None is no limit. ValueError for what cannot be.

    The defaults are those of vLLM 0.33 on an H100 (engine/arg_utils.py, get_batch_defaults), with the KV cache of an
    8B model.

    - `max_num_batched_tokens`: tokens computed in one step. `max_num_seqs`: sequences that run at once.
    - `num_blocks`: blocks of the KV cache, each of `block_size` tokens.
    - `long_prefill_token_threshold`: prompt tokens of one sequence in one step.
    - `policy`: the order of those that wait: by arrival (`fcfs`), or by priority, lowest first, then arrival.
    - `prefix_caching`: whether full blocks are found again by their keys.
    - `max_num_queued_reqs`: sequences in flight, waiting or running. `max_num_queued_tokens`: prompt tokens of those
      without a first token, at which no more are taken.
    """

    max_num_batched_tokens: int = 8_192
    max_num_seqs: int = 1_024
    block_size: int = 16
    num_blocks: int = 26_000
    long_prefill_token_threshold: int | None = None
    policy: Literal["fcfs", "priority"] = "fcfs"
    prefix_caching: bool = True
    max_num_queued_reqs: int | None = None
    max_num_queued_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_num_batched_tokens", "max_num_seqs", "block_size", "num_blocks"):
            _check_count(name, getattr(self, name), "a whole number of at least 1")
        for name in ("long_prefill_token_threshold", "max_num_queued_reqs", "max_num_queued_tokens"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name), "a whole number of at least 1, or None")
        if self.policy not in ("fcfs", "priority"):
            raise ValueError(f"policy: expected fcfs or priority, got {self.policy!r}")
        if self.max_num_seqs > self.max_num_batched_tokens:
            at_most = f"at most max_num_batched_tokens, {self.max_num_batched_tokens}"
            raise ValueError(f"max_num_seqs: expected {at_most}, got {self.max_num_seqs}")

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return self.num_blocks * self.block_size

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold `tokens` tokens."""
        return -(-tokens // self.block_size)


def _check_count(name: str, value: object, expected: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
