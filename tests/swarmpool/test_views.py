"""Views: which agents they have, that they are of the user's own class, and that there is nothing in them to forget."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from raw_agent import RawAgent

from swarmpool import AgentEndpoint, AgentPool, BadIndex, EmptyPool, Health, Hedge, Retry, Sticky, VLLMPool

AGENTS = [AgentEndpoint(f"n{number}", 8000 + number, {"rack": "ab"[number % 2]}) for number in range(6)]


def ports(pool: AgentPool) -> list[int]:
    return [endpoint.port - 8000 for endpoint in pool.endpoints]


# ------------------------------------------------------------------------------------------------------------ choosing


def test_each_kind_of_view_has_the_agents_asked_for_in_their_order() -> None:
    pool = AgentPool(AGENTS)
    assert ports(pool.by_tag("rack", "b")) == [1, 3, 5]
    assert ports(pool.select([4, 0, 4])) == [4, 0, 4]
    assert ports(pool.select(iter([2]))) == [2]
    assert ports(pool.slice(1, 4)) == [1, 2, 3]
    assert sorted(ports(pool.sample(6, seed=1))) == [0, 1, 2, 3, 4, 5]
    assert pool.size == len(pool) == 6


def test_views_nest_and_indices_count_in_the_view_they_are_asked_of() -> None:
    view = AgentPool(AGENTS).by_tag("rack", "b").slice(1, 99).select([1])
    assert ports(view) == [5]
    with pytest.raises(BadIndex, match=r"index 1 is not one of this view's 1 agents \(0 to 0\)"):
        view.select([1])


def test_slice_and_sample_clamp() -> None:
    pool = AgentPool(AGENTS)
    assert ports(pool.slice(-3, 99)) == [0, 1, 2, 3, 4, 5]
    assert ports(pool.slice(4, 2)) == ports(pool.slice(99, 100)) == ports(pool.slice(0, -1)) == []
    assert len(pool.sample(99)) == 6
    assert len(pool.sample(0)) == len(pool.sample(-1)) == 0


def test_a_sample_is_the_same_for_the_same_seed_and_has_nobody_twice() -> None:
    pool = AgentPool(AGENTS)
    assert ports(pool.sample(3, seed=7)) == ports(pool.sample(3, seed=7))
    assert len({tuple(ports(pool.sample(3, seed=seed))) for seed in range(20)}) > 5
    assert all(len(set(ports(pool.sample(4)))) == 4 for _ in range(20))


@pytest.mark.parametrize("n", [1.5, True, None, "2"])
def test_a_sample_of_an_odd_size_is_refused_by_name(n: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="n must be"):
        AgentPool(AGENTS).sample(n)


@pytest.mark.parametrize("index", [-1, 6, 10**30])
def test_an_index_that_is_nobodys_is_bad_and_an_index_error(index: int) -> None:
    pool = AgentPool(AGENTS)
    with pytest.raises(BadIndex, match=f"index {index} is not one of this view's 6 agents"):
        pool.select([0, index])
    with pytest.raises(IndexError):
        _ = pool.stream(index, "hi")


def test_an_index_that_is_no_number_is_a_type_error() -> None:
    pool: Any = AgentPool(AGENTS)
    with pytest.raises(TypeError):
        pool.select(["0"])
    with pytest.raises(TypeError):
        pool.slice("a", "b")


async def test_an_empty_view_may_exist_and_sending_on_it_raises_everywhere_the_same() -> None:
    """It was a ZeroDivisionError here, an empty list there, and failures elsewhere (Aurora-Swarm)."""
    for pool in (AgentPool([]), AgentPool(AGENTS).by_tag("rack", "z"), VLLMPool(AGENTS).slice(0, 0)):
        assert (pool.size, pool.endpoints) == (0, ())
        assert ports(pool.slice(0, 5)) == ports(pool.sample(3)) == ports(pool.select([])) == []
        calls: list[Callable[[], Any]] = [
            partial(pool.post, 0, "hi"),
            partial(pool.post_batch, 0, ["hi"]),
            partial(pool.send_all, ["hi"]),
            partial(pool.send_all, []),
            partial(pool.send_all_batched, ["hi"]),
            partial(pool.broadcast_prompt, "hi"),
        ]
        for call in calls:
            with pytest.raises(EmptyPool, match="no agents"):
                await call()
        with pytest.raises(EmptyPool):
            _ = pool.stream(0, "hi")
        with pytest.raises(EmptyPool):
            await anext(pool.stream_all(["hi"]))


# ----------------------------------------------------------------------------------------------------- of their class


class Named(VLLMPool):
    """A user's own pool, with an attribute of its own and a method that uses it."""

    def __init__(self, *arguments: Any, name: str) -> None:
        super().__init__(*arguments)
        self.name = name

    def greet(self) -> str:
        return f"{self.name} of {self.size}"

    @property
    def broken(self) -> str:
        return self.nowhere  # type: ignore[no-any-return,attr-defined]  # that is the point


def test_views_are_of_the_users_own_class_and_see_what_it_gave_the_root() -> None:
    """Copying fields by hand into children forgot some, and gave users plain children (Aurora-Swarm)."""
    pool = Named(AGENTS, name="swarm")
    for view in (
        pool.by_tag("rack", "a"),
        pool.sample(2),
        pool.select([1]),
        pool.slice(0, 3),
        pool.slice(0, 3).slice(0, 2),
    ):
        assert type(view) is Named
        assert view.greet() == f"swarm of {view.size}"
        assert view.model is None
        assert view.max_tokens == 512


def test_what_is_set_on_the_root_later_is_seen_and_what_a_view_sets_is_its_own() -> None:
    pool = Named(AGENTS, name="swarm")
    view = pool.slice(0, 3).slice(0, 2)
    pool.name = "hive"
    pool.colour = "red"  # type: ignore[attr-defined]  # users do
    assert (view.greet(), view.colour) == ("hive of 2", "red")  # type: ignore[attr-defined]  # as above
    view.name = "mine"
    assert (view.greet(), pool.greet()) == ("mine of 2", "hive of 6")


def test_an_attribute_nobody_has_is_an_attribute_error_that_names_it() -> None:
    pool: Any = Named(AGENTS, name="swarm")
    for each in (pool, pool.slice(0, 1)):
        with pytest.raises(AttributeError, match="'Named' object has no attribute 'nobody'"):
            _ = each.nobody
        with pytest.raises(AttributeError, match="nowhere"):
            _ = each.broken
        assert not hasattr(each, "connector_limit")


def test_a_view_can_be_copied() -> None:
    view = AgentPool(AGENTS).slice(0, 2)
    assert ports(copy.copy(view)) == [0, 1]


# ----------------------------------------------------------------------------------------------------- what they show


async def test_statistics_are_of_the_tree_and_of_the_views_size() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint] * 3, concurrency=9, connector_limit=7) as pool:
        view = pool.slice(0, 2)
        await pool.post(0, "hi")
        now = view.statistics()
        assert (now.size, now.agents) == (2, 3)
        assert (now.limit, now.concurrency, now.connector_limit) == (7, 9, 7)
        assert (now.requests.succeeded, now.connections.opened) == (1, 1)


async def test_the_repr_is_the_debug_view() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint] * 3, concurrency=9) as pool:
        await pool.post(0, "hi")
        await pool.post(1, "hi")
        shown = (
            "requests: 0 of 9 in flight, 0 waiting, 2 ok, 0 failed | "
            "connections: 1 of 1024 open (1 idle), 1 opened, 1 reused>"
        )
        assert repr(pool) == f"<AgentPool OPEN 3 agents | {shown}"
        assert repr(pool.slice(0, 2)) == f"<AgentPool OPEN 2 of 3 agents | {shown}"
    assert repr(pool).startswith("<AgentPool CLOSED 3 agents")


async def test_the_repr_says_what_is_done_about_agents_that_fail_where_that_is_on() -> None:
    dead = ("127.0.0.1", 1)
    async with RawAgent() as agent:
        care: dict[str, Any] = {"retry": Retry(pause=0.001, tries=2), "health": Health(failures=2), "hedge": Hedge()}
        async with AgentPool([agent.endpoint, dead], **care) as pool:
            await pool.post(1, "hi")
            assert repr(pool.slice(0, 1)).endswith(" | care: 1 ejected now, 1 retried, 0 hedged>")
        async with AgentPool([agent.endpoint], health=Health(), routing=Sticky()) as pool:
            assert repr(pool).endswith("0 reused | care: 0 ejected now, routing Sticky>")


async def test_internals_that_people_read_are_there_in_every_view() -> None:
    async with AgentPool(AGENTS, concurrency=1) as pool:
        view = pool.slice(0, 1).slice(0, 1)
        assert view._session is pool._session is not None
        assert view._semaphore is pool._semaphore
        assert view._endpoints == tuple(AGENTS[:1])
        assert not view._semaphore.locked()
        async with view._semaphore:
            assert pool._semaphore.locked()
        assert not pool._semaphore.locked()


def test_properties_of_a_view_are_the_trees() -> None:
    view = AgentPool(AGENTS, timeout=7).slice(0, 1)
    assert view.timeout == 7
    assert AgentPool(AGENTS, timeout=None).timeout is None


def test_an_index_of_the_wrong_type_is_refused_by_name() -> None:
    pool = AgentPool(AGENTS)
    odd: Any = "1"
    with pytest.raises(TypeError, match=r"indices\[1\] must be a whole number, not '1'"):
        pool.select([0, odd])
    with pytest.raises(TypeError, match="stop must be a whole number"):
        pool.slice(0, odd)
    with pytest.raises(TypeError, match="agent_index must be a whole number"):
        _ = pool.stream(odd, "hi")
