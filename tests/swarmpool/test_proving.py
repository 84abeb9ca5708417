"""The adapter against raw sockets is `tests/pairing/test_claims.py`; here is what it says of itself and passes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from websocket_peer import WebSocketPeer

from swarmpool import EmptyPool, PoolClosed
from swarmpool.proving import ProvingPool, client


@dataclass
class Place:
    host: str = "127.0.0.1"
    port: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Settings:
    concurrency: int = 3
    connector_limit: int = 2
    concurrency_per_agent: int | None = 1
    timeout: float = 5.0
    connect_timeout: float = 1.0
    keepalive_timeout: float = 4.0
    model: str = "sim"
    max_tokens: int = 16
    tries: int = 1
    retry_pause: float = 0.01
    eject_after: int | None = None
    eject_seconds: float = 5.0
    hedge_after: float | None = None


def make_pool(*places: Place, settings: Settings | None = None) -> ProvingPool:
    return client.build(places, settings or Settings())


def test_the_adapter_has_every_feature_there_is() -> None:
    assert client.name == "swarmpool"
    assert client.features == {"views", "ledger", "websockets", "kinds", "retries", "breakers", "hedges"}


async def test_what_happens_on_the_wire_is_an_outcome_that_names_its_kind() -> None:
    pool = make_pool(Place())
    await pool.open()
    unary, stream = await pool.request(0, "hello"), await pool.stream(0, "hello")
    await pool.close()
    assert (unary.ok, stream.ok) == (False, False)
    assert unary.error.startswith("connect: ")
    assert stream.error.startswith("connect: ")
    assert (unary.kind, stream.kind) == ("connect", "connect")


async def test_the_counts_are_those_of_the_tree() -> None:
    pool = make_pool(Place())
    await pool.open()
    view = pool.view("select", [0])
    await view.request(0, "hello")
    counts = pool.counts()
    assert counts == view.counts()
    assert (counts.opened, counts.open, counts.peak_open, counts.peak_in_flight) == (0, 0, 1, 1)
    await pool.close()


async def test_an_outcome_says_how_often_it_was_tried() -> None:
    pool = make_pool(Place(), Place(), settings=Settings(tries=3))
    await pool.open()
    named, chosen = await pool.request(0, "hello"), await pool.ask("hello")
    await pool.close()
    assert (named.kind, named.attempts) == (chosen.kind, chosen.attempts) == ("connect", 3)


async def test_a_request_to_an_agent_that_is_left_alone_is_an_outcome_too() -> None:
    pool = make_pool(Place(), settings=Settings(eject_after=1, eject_seconds=3600.0))
    await pool.open()
    first, second = await pool.request(0, "hello"), await pool.request(0, "hello")
    chosen = await pool.ask("hello")
    await pool.close()
    assert [outcome.kind for outcome in (first, second, chosen)] == ["connect", "unavailable", "unavailable"]
    assert (second.ok, second.attempts) == (False, 0)


@dataclass
class Sockets:
    max_session_duration: float | None = 60.0


async def test_websockets_are_borrowed_given_back_and_discarded() -> None:
    async with WebSocketPeer().serving() as peer:
        pool = make_pool(Place(*peer.place))
        await pool.open()
        websockets = pool.websockets(0, "/ws", Sockets())
        await websockets.prewarm(1)
        first = await websockets.borrow()
        assert await first.ask("hello") == "hello"
        first.give_back()
        second = await websockets.borrow()
        assert await second.ask("again") == "again"
        websockets.invalidate()
        second.discard()
        assert len(peer.sockets) == 1
        await websockets.close()
        with pytest.raises(PoolClosed):
            await websockets.borrow()
        await pool.close()


async def test_misuse_raises() -> None:
    pool = make_pool(Place(tags={"rack": "a"}))
    await pool.open()
    with pytest.raises(EmptyPool):
        await pool.view("by_tag", "rack", "b").request(0, "hello")
    await pool.close()
    with pytest.raises(PoolClosed):
        await pool.request(0, "hello")
    with pytest.raises(PoolClosed):
        await pool.view("slice", 0, 1).stream(0, "hello")
