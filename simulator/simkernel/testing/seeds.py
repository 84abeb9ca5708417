"""Which seeds a simulated test runs under, and in which blocks: a block is one item of pytest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BLOCK", "Block", "as_seeds", "blocks", "read_count", "read_seed", "read_seeds"]

BLOCK = 50
"""Seeds of one item: enough to hide what an item costs, few enough to be spread over workers."""


@dataclass(frozen=True, slots=True)
class Block:
    """The seeds of one item."""

    seeds: Sequence[int]
    is_first: bool
    """Whether the test's first seed is among them."""

    @property
    def name(self) -> str:
        """As in the item's id."""
        first, last = self.seeds[0], self.seeds[-1]
        if len(self.seeds) == 1:
            return f"seed {first}"
        return (
            f"seeds {first}-{last}" if last - first + 1 == len(self.seeds) else f"{len(self.seeds)} of {first}-{last}"
        )


def blocks(seeds: Sequence[int], size: int) -> list[Block]:
    """Return the seeds in order, `size` in each block and what is left in the last."""
    return [Block(seeds[start : start + size], start == 0) for start in range(0, len(seeds), size)]


def as_seeds(given: object) -> Sequence[int]:
    """Return the seeds that a mark asks for: so many from 0 on, or a range, list or tuple. Raises ValueError."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return range(given)
    if isinstance(given, (range, list, tuple)) and given and all(_is_seed(seed) for seed in given):
        return given
    raise ValueError(f"seeds={given!r}: expected how many, or a range or list of whole numbers of at least 0")


def _is_seed(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def read_seeds(text: str) -> range:
    """Read `A:B`, which is A up to B and without B. Raises ValueError."""
    first, colon, end = text.partition(":")
    if colon and _is_digits(first) and _is_digits(end) and int(first) < int(end):
        return range(int(first), int(end))
    raise ValueError(f"expected seeds from:to, such as 0:20000, got {text!r}")


def read_seed(text: str) -> int:
    """Raises ValueError."""
    if not _is_digits(text):
        raise ValueError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def read_count(text: str) -> int:
    """Raises ValueError."""
    if not _is_digits(text) or int(text) == 0:
        raise ValueError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
