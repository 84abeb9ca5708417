"""Seeds as a mark and a command line say them, and the blocks they make."""

from __future__ import annotations

import pytest

from simkernel.testing.seeds import Block, as_seeds, blocks, read_count, read_seed, read_seeds


@pytest.mark.parametrize(
    ("given", "seeds"), [(3, [0, 1, 2]), (range(5, 9, 2), [5, 7]), ([4711], [4711]), ((2, 1), [2, 1])]
)
def test_a_mark_says_how_many_or_which(given: object, seeds: list[int]) -> None:
    assert list(as_seeds(given)) == seeds


@pytest.mark.parametrize("given", [0, -1, True, 2.0, "9", None, [], range(0), [-1], [True]])
def test_what_are_no_seeds_is_named(given: object) -> None:
    with pytest.raises(ValueError, match=r"seeds=.*: expected how many, or a range or list"):
        as_seeds(given)


def test_blocks_share_all_seeds_in_order_and_one_has_the_first() -> None:
    found = blocks(range(10, 15), 2)
    assert [list(block.seeds) for block in found] == [[10, 11], [12, 13], [14]]
    assert [block.is_first for block in found] == [True, False, False]


@pytest.mark.parametrize(
    ("seeds", "name"), [([9], "seed 9"), (range(50, 100), "seeds 50-99"), ([1, 2, 9], "3 of 1-9"), ([3, 1], "2 of 3-1")]
)
def test_a_block_has_a_name(seeds: list[int], name: str) -> None:
    assert Block(seeds, is_first=True).name == name


def test_numbers_are_read_from_a_command_line() -> None:
    assert (read_seeds("0:20000"), read_seed("0"), read_count("1")) == (range(20000), 0, 1)


@pytest.mark.parametrize("text", ["", ":", "1:", ":1", "2:1", "1:1", "-1:2", "1:2:3", "\u0661:9"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected seeds from:to"):
        read_seeds(text)
