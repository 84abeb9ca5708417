"""One sequence in an engine's scheduler: what it is to compute, and how far it has come."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["Request"]


class Request:
    """A prompt of `prompt_tokens` to be answered with `output_tokens`, each at least 1. Raises ValueError otherwise.

    `keys` name the full blocks of the sequence from its start on, as far as they are to be found again: two sequences
    have the same key exactly where they are the same up to the end of that block. They may go on into the answer.
    `priority` counts only under the policy of that name: lower goes first.

    The rest is the scheduler's. `computed` tokens have their keys and values in `blocks` blocks, the first `shared` of
    which are in the prefix cache under their keys; `generated` tokens have been said; `cached` tokens were found in the
    prefix cache when it was last admitted; `preemptions` counts how often it lost its blocks.
    """

    __slots__ = (
        "blocks",
        "cached",
        "computed",
        "generated",
        "keys",
        "order",
        "output_tokens",
        "preemptions",
        "priority",
        "prompt_tokens",
        "shared",
    )

    def __init__(
        self, prompt_tokens: int, output_tokens: int, *, priority: int = 0, keys: Sequence[Hashable] = ()
    ) -> None:
        if prompt_tokens < 1:
            raise ValueError(f"prompt_tokens: expected at least 1, got {prompt_tokens}")
        if output_tokens < 1:
            raise ValueError(f"output_tokens: expected at least 1, got {output_tokens}")
        self.prompt_tokens, self.output_tokens = prompt_tokens, output_tokens
        self.priority, self.keys = priority, keys
        self.order = 0
        self.computed = self.generated = self.blocks = self.shared = self.cached = self.preemptions = 0

    def __repr__(self) -> str:
        done = f"computed={self.computed}, generated={self.generated}, blocks={self.blocks}"
        return f"Request({self.prompt_tokens}, {self.output_tokens}, {done})"

    @property
    def tokens(self) -> int:
        """Tokens known so far: the prompt and what has been generated."""
        return self.prompt_tokens + self.generated

    @property
    def left(self) -> int:
        """Tokens still to be generated."""
        return self.output_tokens - self.generated

    @property
    def decoding(self) -> bool:
        """Whether all but its latest token are computed: a step of one token generates the next."""
        return self.generated > 0 and self.prompt_tokens + self.generated - self.computed == 1
