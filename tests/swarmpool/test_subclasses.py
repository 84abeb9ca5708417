"""Users' subclasses of every public class: what they override is used, what they add is there, in sub-pools too."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, http, says

import swarmpool
from swarmpool import (
    AgentEndpoint,
    AgentPool,
    Candidates,
    ConnectionPool,
    EmbeddingPool,
    Health,
    Hedge,
    LeastInFlight,
    PoolStatistics,
    PowerOfTwo,
    Response,
    Retry,
    RoundRobin,
    Sticky,
    SwarmPoolError,
    VLLMPool,
    WebSocketPool,
    Weighted,
)

AGENTS = [("node0", 8000), ("node1", 8000), ("node2", 8000)]


class Shouting:
    """A user's mixin: state of its own, made in a constructor of its own, and an override that calls `super()`."""

    def __init__(self, *args: Any, volume: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)
        self.volume = volume
        self.asked: list[str | None] = []

    async def post(self, agent_index: int | None, prompt: str | None, *args: Any, **sampling: Any) -> Response:
        self.asked.append(prompt)
        response: Response = await super().post(  # type: ignore[misc]  # of the pool it is mixed into
            agent_index, f"{prompt}{'!' * self.volume}", *args, **sampling
        )
        return response


class ShoutingAgents(Shouting, AgentPool):
    pass


class ShoutingVLLM(Shouting, VLLMPool):
    pass


class ShoutingEmbedding(Shouting, EmbeddingPool):
    pass


def whole(connection: RawConnection) -> None:
    """Answer as a plain agent or as vLLM, with the prompt."""
    body = json.loads(connection.requests[-1])
    if "messages" not in body:
        connection.write(says(body["prompt"]))
        return
    message = {"role": "assistant", "content": body["messages"][-1]["content"]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    connection.write(http(json.dumps(answer).encode(), "content-type: application/json"))


def made(kind: type[AgentPool], endpoints: Sequence[Any], **options: Any) -> Any:
    """A pool of that class; a VLLMPool has nothing to ask its servers."""
    if issubclass(kind, VLLMPool):
        options |= {"model": "sim", "max_tokens": 5, "model_max_context": 4096}
    return kind(endpoints, **options)


@pytest.mark.parametrize("kind", [ShoutingAgents, ShoutingVLLM])
@pytest.mark.parametrize("care", [{}, {"retry": Retry(), "health": Health()}], ids=["plain", "caring"])
async def test_an_overridden_post_is_what_is_called(kind: type[AgentPool], care: Mapping[str, Any]) -> None:
    async with RawAgent(whole) as agent, made(kind, [agent.endpoint] * 3, volume=2, **care) as pool:
        assert (await pool.post(0, "hi")).text == "hi!!"
        views: list[Any] = [pool.slice(0, 2), pool.sample(2), pool.select([1]), pool.slice(0, 2).slice(0, 1)]
        assert {type(view) for view in views} == {kind}
        for view in views:
            assert view.volume == 2
            assert view.asked is pool.asked
            assert (await view.post(0, "hi")).text == "hi!!"
        assert pool.asked == ["hi"] * 5


async def test_the_calls_with_many_prompts_use_an_overridden_post() -> None:
    async with RawAgent(whole) as agent, made(ShoutingAgents, [agent.endpoint] * 2) as pool:
        assert [response.text for response in await pool.send_all(["a", "b"])] == ["a!", "b!"]
        assert [response.text for response in await pool.broadcast_prompt("c")] == ["c!", "c!"]


@pytest.mark.parametrize("kind", [ShoutingAgents, ShoutingVLLM, ShoutingEmbedding])
async def test_what_the_constructor_of_a_subclass_sets_is_there_in_every_view(kind: type[AgentPool]) -> None:
    async with made(kind, AGENTS, volume=3) as pool:
        view = pool.slice(0, 2)
        assert (view.volume, view.slice(0, 1).volume) == (3, 3)
        pool.volume = 4
        assert view.volume == 4
        view.volume = 5
        assert (view.volume, pool.volume) == (5, 4), "what a view sets is its own"
        assert repr(view).startswith(f"<{kind.__name__} OPEN 2 of 3 agents")


async def test_a_pool_of_another_class_over_a_subclass_has_its_tree() -> None:
    async with made(ShoutingVLLM, AGENTS) as pool:

        class Counting(EmbeddingPool):
            """Adds a method."""

            def agents(self) -> int:
                return self.size

        assert Counting.over(pool.slice(0, 2)).agents() == 2
        assert type(Counting.over(pool).slice(0, 1)) is Counting
        assert type(pool.aggregating()) is ShoutingVLLM
        assert pool.aggregating().volume == 1


async def test_overridden_statistics_are_what_the_repr_shows() -> None:
    class Renamed(AgentPool):
        def statistics(self) -> PoolStatistics:
            return dataclasses.replace(super().statistics(), connector_limit=7)

    async with Renamed(AGENTS) as pool:
        assert "0 of 7 open" in repr(pool.slice(0, 1))


# ------------------------------------------------------------------------------------------------ connections


class Numbered:
    """What a pool of connections may hold: anything."""


class NumberedPool(ConnectionPool[Numbered]):
    """Callbacks as methods, and state of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made = 0
        self.closed = 0

    async def connect(self, timeout: float) -> Numbered:
        self.made += 1
        return Numbered()

    async def disconnect(self, connection: Numbered) -> None:
        self.closed += 1


async def test_a_connection_pools_methods_may_be_its_callbacks() -> None:
    async with NumberedPool(max_size=2) as pool:
        async with pool.connection() as first:
            assert type(first) is Numbered
        async with pool.connection() as again:
            assert again is first
    assert (pool.made, pool.closed) == (1, 1)


class Greeting(WebSocketPool):
    """Adds an attribute, and a look at each websocket as it rests."""

    def __init__(self, url: str, *, greeting: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.greeting = greeting

    def get_greeting(self) -> str:
        return self.greeting


async def test_a_websocket_pools_subclass_has_its_own() -> None:
    async with Greeting("ws://node0:8000/v1/realtime", greeting="hi", max_size=2) as pool:
        assert pool.get_greeting() == "hi"
        assert repr(pool).startswith("<Greeting")


# ------------------------------------------------------------------------------------------------ policies, records


@pytest.mark.parametrize("kind", [RoundRobin, LeastInFlight, PowerOfTwo, Weighted, Sticky])
async def test_an_overridden_policy_chooses(kind: type[Any]) -> None:
    class Last(kind):  # type: ignore[misc]  # each of them in turn
        """Counts, asks its class too, and then takes the last."""

        asked = 0

        def choose(self, candidates: Candidates, key: Any) -> int | None:
            self.asked += 1
            return None if super().choose(candidates, key) is None else len(candidates) - 1

    policy = Last()
    async with RawAgent(whole) as agent:
        endpoints = [AgentEndpoint(agent.endpoint.host, agent.endpoint.port, {"weight": "1"})] * 3
        async with AgentPool(endpoints, routing=policy) as pool:
            assert (await pool.ask("hi", key="k")).tree_index == 2
            assert (await pool.slice(0, 2).ask("hi", key="k")).agent_index == 1
    assert policy.asked == 2


@pytest.mark.parametrize("kind", [Retry, Health, Hedge])
def test_settings_may_have_defaults_of_their_own(kind: type[Any]) -> None:
    class Mine(kind):  # type: ignore[misc]  # each of them in turn
        """With a property more."""

        @property
        def told(self) -> str:
            return f"mine: {self!r}"

    argument = {Retry: "retry", Health: "health", Hedge: "hedge"}[kind]
    AgentPool(AGENTS, **{argument: Mine()})  # it is taken for what it is
    assert Mine().told.startswith("mine: ")


PUBLIC = [
    value
    for value in (getattr(swarmpool, name) for name in swarmpool.__all__)
    if inspect.isclass(value) and not issubclass(value, str) and not hasattr(value, "__members__")
]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_public_class_may_have_a_subclass_with_attributes(kind: type[Any]) -> None:
    class Mine(kind):  # type: ignore[misc]  # each of them in turn
        """Adds what a user would."""

        extra = 7

        def doubled(self) -> int:
            return 2 * self.extra

    if inspect.isabstract(Mine):  # a `Stream` is one or a race of two: whoever makes a third says what it does
        whole: Any = type("Whole", (Mine,), dict.fromkeys(Mine.__abstractmethods__))
    else:
        whole = Mine
    mine = whole.__new__(whole)
    assert isinstance(mine, kind)
    assert mine.doubled() == 14


def test_a_response_with_a_field_more_is_a_response() -> None:
    @dataclasses.dataclass(slots=True)
    class Scored(Response):
        score: float = 0.0

    scored = Scored(success=True, text="hi", score=0.5)
    assert (scored.unwrap(), scored.score) == ("hi", 0.5)
    assert copy.copy(scored) == scored
    assert dataclasses.replace(scored, score=0.7).score == 0.7


def test_an_endpoint_with_a_field_more_is_an_endpoint() -> None:
    @dataclasses.dataclass(frozen=True)
    class Placed(AgentEndpoint):
        rack: str = ""

    pool = AgentPool([Placed("node0", 8000, rack="a")])
    [endpoint] = pool.endpoints
    assert isinstance(endpoint, Placed)
    assert endpoint.rack == "a"


def test_errors_of_users_are_in_the_tree_of_errors() -> None:
    class Mine(SwarmPoolError):
        """A user's."""

    with pytest.raises(SwarmPoolError):
        raise Mine("mine")


async def test_an_overridden_hook_of_life_is_called() -> None:
    seen: list[str] = []

    class Logged(AgentPool):
        async def close(self, drain: float = 5.0) -> None:
            seen.append(type(self).__name__)
            await super().close(drain)

    async with Logged(AGENTS) as pool:
        await asyncio.sleep(0)
        assert pool.size == 3
    assert seen == ["Logged"]
