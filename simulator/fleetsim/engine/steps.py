"""What one step did, and what it had to compute."""

from __future__ import annotations

from fleetsim.engine.request import Request

__all__ = ["Load", "Step"]


class Load:
    """The work of one step.

    `prefill_tokens` of prompts (or of what a preempted request computes again), one token for each of
    `decode_sequences`, and `context_tokens` that all of them look back on. `kv_usage` is the used part of the KV cache,
    0 to 1.
    """

    __slots__ = ("context_tokens", "decode_sequences", "kv_usage", "prefill_tokens")

    def __init__(
        self, prefill_tokens: int = 0, decode_sequences: int = 0, context_tokens: int = 0, kv_usage: float = 0.0
    ) -> None:
        self.prefill_tokens, self.decode_sequences = prefill_tokens, decode_sequences
        self.context_tokens, self.kv_usage = context_tokens, kv_usage

    def __repr__(self) -> str:
        what = f"prefill_tokens={self.prefill_tokens}, decode_sequences={self.decode_sequences}"
        return f"Load({what}, context_tokens={self.context_tokens}, kv_usage={self.kv_usage:.3f})"

    @property
    def tokens(self) -> int:
        """Tokens computed in the step."""
        return self.prefill_tokens + self.decode_sequences


class Step:
    """What happened in one step; all its tokens appear together when it is over.

    `spoke` got a token each, of which `finished` got their last. `admitted` left the line, `preempted` went back to it,
    `aborted` are gone. `stalled` have spoken before, run, and got no token: the budget was spent, or they compute again
    what a preemption took.
    """

    __slots__ = ("aborted", "admitted", "finished", "load", "preempted", "scheduled", "spoke", "stalled")

    def __init__(self) -> None:
        self.load = Load()
        self.scheduled: dict[Request, int] = {}
        self.spoke: list[Request] = []
        self.finished: list[Request] = []
        self.admitted: list[Request] = []
        self.preempted: list[Request] = []
        self.stalled: list[Request] = []
        self.aborted: list[Request] = []
