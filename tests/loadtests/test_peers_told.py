from __future__ import annotations

import pytest

from loadtests.bench.peers.told import ChildFailed, told


async def test_a_child_answers_and_ends_with_the_block() -> None:
    async with told("server_process", "aiohttp", "2") as server:
        assert len(set(server.first["ports"])) == 2
        assert server.seconds > 0
        assert await server.do("begin") == {}
        cost = await server.do("end")
        assert cost["memory"] > 1_000_000
        assert {*cost["lag"]} == {"p50", "p99", "max"}
    assert server.returncode == 0


async def test_a_child_that_breaks_is_told_with_its_last_words() -> None:
    with pytest.raises(ChildFailed, match=r"server_process no_such_kind 1 has ended: .*No module named"):
        async with told("server_process", "no_such_kind", "1"):
            pass


async def test_the_failure_of_one_child_is_not_blamed_on_another() -> None:
    async def in_company() -> None:
        async with told("server_process", "aiohttp", "1") as one, told("server_process", "aiohttp", "1") as other:
            await other.do("begin")
            await one.do("dance")

    with pytest.raises(ChildFailed, match=r"^server_process aiohttp 1 has ended: KeyError: 'dance'"):
        await in_company()
