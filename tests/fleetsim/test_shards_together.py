from __future__ import annotations

import asyncio

import pytest

from fleetsim.shards.together import together


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def test_results_come_in_order() -> None:
    assert await together(doubled(number) for number in (3, 1, 2)) == [6, 2, 4]
    assert await together(doubled(number) for number in range(0)) == []


async def test_the_first_error_leaves_as_it_is_when_the_others_have_ended() -> None:
    ended = []

    async def for_ever() -> int:
        try:
            await asyncio.get_running_loop().create_future()
            return 0
        finally:
            ended.append("cancelled")

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ArithmeticError("not today")

    with pytest.raises(ArithmeticError, match="not today"):
        await together([for_ever(), fail(), for_ever()])
    assert ended == ["cancelled"] * 2
