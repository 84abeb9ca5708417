from __future__ import annotations

from fleetsim.engine.blocks import KVBlocks
from fleetsim.engine.limits import EngineLimits
from fleetsim.engine.request import Request


def filled(blocks: KVBlocks, request: Request, tokens: int | None = None) -> Request:
    """`request`, with its tokens computed and its full blocks in the cache."""
    tokens = request.tokens if tokens is None else tokens
    assert blocks.grow(request, tokens)
    request.computed += tokens
    blocks.publish(request)
    return request


def cache(num_blocks: int = 8, *, prefix_caching: bool = True) -> KVBlocks:
    return KVBlocks(EngineLimits(num_blocks=num_blocks, prefix_caching=prefix_caching))


def test_a_block_is_taken_for_each_sixteen_tokens_begun() -> None:
    blocks = cache()
    request = filled(blocks, Request(16, 4))
    assert (request.blocks, blocks.used, blocks.free) == (1, 1, 7)
    assert blocks.grow(request, 1)
    assert (request.blocks, blocks.used) == (2, 2)


def test_what_does_not_fit_changes_nothing() -> None:
    blocks = cache(2)
    request = Request(33, 1)
    assert not blocks.grow(request, 33)
    assert (request.blocks, blocks.free) == (0, 2)


def test_full_blocks_of_the_same_prefix_are_found_and_shared() -> None:
    blocks = cache()
    first = filled(blocks, Request(40, 1, keys=("a", "b")))
    second = Request(40, 1, keys=("a", "b"))
    assert blocks.found(second) == 2
    blocks.share(second, 2)
    assert (second.computed, second.cached, blocks.users("a"), blocks.used) == (32, 32, 2, 3)
    blocks.release(first)
    assert (blocks.users("a"), blocks.idle, blocks.used) == (1, 0, 2)


def test_another_continuation_finds_only_the_common_blocks() -> None:
    blocks = cache()
    filled(blocks, Request(48, 1, keys=("a", "b", "c")))
    assert blocks.found(Request(48, 1, keys=("a", "x", "c"))) == 1


def test_the_last_token_of_a_prompt_is_never_found() -> None:
    blocks = cache()
    filled(blocks, Request(32, 1, keys=("a", "b")))
    assert blocks.found(Request(32, 1, keys=("a", "b"))) == 1
    assert blocks.found(Request(33, 1, keys=("a", "b"))) == 2


def test_a_block_half_full_is_not_found() -> None:
    blocks = cache()
    filled(blocks, Request(48, 1, keys=("a", "b", "c")), tokens=31)
    assert blocks.found(Request(48, 1, keys=("a", "b", "c"))) == 1


def test_idle_blocks_are_given_away_from_the_end_of_who_left_first() -> None:
    blocks = cache(4)
    gone = filled(blocks, Request(48, 1, keys=("a", "b", "c")))
    blocks.release(gone)
    assert (blocks.idle, blocks.empty, blocks.free) == (3, 1, 4)
    filled(blocks, Request(32, 1))
    assert (blocks.found(Request(48, 1, keys=("a", "b", "c"))), blocks.idle) == (2, 2)


def test_what_is_found_is_no_room_for_the_rest() -> None:
    """Idle blocks count as free until the request itself wakes them."""
    blocks = cache(4)
    blocks.release(filled(blocks, Request(48, 1, keys=("a", "b", "c"))))
    request = Request(80, 1, keys=("a", "b", "c"))
    assert blocks.free == 4
    assert not blocks.fits(request, blocks.found(request))
    assert blocks.fits(Request(64, 1, keys=("a", "b", "c")), 3)


def test_two_that_compute_the_same_block_at_once_have_one_each() -> None:
    blocks = cache()
    first, second = Request(16, 1, keys=("a",)), Request(16, 1, keys=("a",))
    for each in (first, second):
        filled(blocks, each)
    assert (blocks.used, blocks.users("a"), blocks.private) == (2, 1, 1)
    blocks.release(second)
    blocks.release(first)
    assert (blocks.idle, blocks.empty) == (1, 7)


def test_without_prefix_caching_nothing_is_found() -> None:
    blocks = cache(prefix_caching=False)
    blocks.release(filled(blocks, Request(32, 1, keys=("a", "b"))))
    assert (blocks.found(Request(48, 1, keys=("a", "b"))), blocks.empty) == (0, 8)
