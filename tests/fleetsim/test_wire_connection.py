from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from answers import Witness, always, hello
from raw_http import Peer, post

from fleetsim import ApiRequest, EventStream, Fleet, Reply, Unary


async def ends(fleet: Fleet) -> set[tuple[str | None, str | None]]:
    await fleet.ledger.wait_for(open_now=0)
    return {(each.ended_by, each.ended_how) for each in fleet.ledger.connection_records()}


async def test_a_client_that_closes_is_noted_as_a_fin_of_the_client() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        async with Peer(fleet[0].port) as peer:
            await peer.send(post("/"))
            await peer.response()
        assert await ends(fleet) == {("client", "fin")}


async def test_a_client_that_resets_is_noted_as_an_rst_of_the_client() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await peer.response()
        peer.reset()
        assert await ends(fleet) == {("client", "rst")}


async def test_a_client_that_resets_in_mid_request_cancels_the_work() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await witness.begun.wait()
        peer.reset()
        assert await ends(fleet) == {("client", "rst")}
        assert witness.cancelled.is_set()


async def test_a_connection_that_never_asks_anything_is_in_the_ledger() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        async with Peer(fleet[0].port):
            await fleet.ledger.wait_for(opened=1)
        assert await ends(fleet) == {("client", "fin")}
        assert fleet.ledger.requests_per_connection == {0: 1}


async def test_a_busy_connection_is_not_idle_however_long_its_answer_takes() -> None:
    """The second server's idle connections are the clock: each is closed when the idle time is over."""
    witness = Witness()
    witness.let_go.set()
    fleet = Fleet(2, answer=lambda index: hello if index else witness, keepalive_timeout=0.01)
    async with fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await peer.response()
        witness.let_go.clear()
        await peer.send(post("/"))
        await fleet.ledger.wait_for(requests=2)
        for _ in range(3):
            async with Peer(fleet[1].port) as clock:
                await clock.send(post("/"))
                await clock.to_the_end()
        assert peer.is_quiet()
        witness.let_go.set()
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_idle_time_begins_anew_after_each_response() -> None:
    async with Fleet(1, answer=lambda index: hello, keepalive_timeout=0.1) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(3):
            await peer.send(post("/"))
            await peer.response()
            await asyncio.sleep(0.02)
        await peer.to_the_end()
        assert await ends(fleet) == {("server", "fin")}
        (connection,), last = fleet.ledger.connection_records(), fleet.ledger.request_records()[-1]
        assert connection.requests == 3
        assert connection.ended_at is not None
        assert last.ended_at is not None
        assert connection.ended_at - last.ended_at >= 0.1 - 0.001


async def test_a_shorter_idle_time_holds_from_the_next_response_on() -> None:
    async with Fleet(1, answer=lambda index: hello, keepalive_timeout=3600.0) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await peer.response()
        fleet[0].keepalive_timeout = 0.01
        await peer.send(post("/"))
        await peer.to_the_end()
        assert await ends(fleet) == {("server", "fin")}


async def test_without_an_idle_time_no_timer_runs() -> None:
    async with Fleet(1, answer=lambda index: hello, keepalive_timeout=None) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await peer.response()
        assert fleet[0].keepalive_timeout is None
        assert fleet.ledger.open_now == 1
    assert await ends(fleet) == {("server", "fin")}


async def test_leaving_the_fleet_ends_idle_and_busy_connections_at_once() -> None:
    witness = Witness()
    fleet = Fleet(1, answer=lambda index: witness)
    async with Peer(await started(fleet)) as busy, Peer(fleet[0].port) as stream, Peer(fleet[0].port) as fresh:
        await busy.send(post("/"))
        await stream.send(post("/stream"))
        await fleet.ledger.wait_for(in_flight=2, opened=3)
        await fleet.__aexit__(None, None, None)
        assert (fleet.ledger.open_now, fleet.ledger.in_flight) == (0, 0)
        assert witness.cancelled.is_set()
        assert await fresh.to_the_end() == b""
        assert await busy.to_the_end() == b""
        assert b"[DONE]" not in await stream.to_the_end()
    assert {each.outcome for each in fleet.ledger.request_records()} == {"server_closed"}


async def started(fleet: Fleet) -> int:
    await fleet.__aenter__()
    return fleet[0].port


async def test_a_stream_waits_for_a_reader_that_is_slow() -> None:
    """Backpressure: the generator runs on only as fast as the client reads."""
    made: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            made.append(len(made))
            yield b"data: " + b"x" * 65_536 + b"\n\n"

    async with Fleet(1, answer=lambda index: always(EventStream(endless()))) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await peer.until(b"\r\n\r\n")
        before = -1
        while before != len(made):
            before = len(made)
            await asyncio.sleep(0.02)
        while len(made) == before:
            assert await peer.some()
        assert len(made) > before


async def test_work_is_cancelled_once_and_may_take_its_time_to_clean_up() -> None:
    cleaned = asyncio.Event()

    async def answer(request: ApiRequest) -> Reply:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.set()
        return Unary(200, b"")

    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        await fleet.ledger.wait_for(in_flight=1)
        peer.half_close()
        await fleet.ledger.wait_for(open_now=0)
        assert cleaned.is_set()


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_request_may_arrive_in_any_pieces(pieces: int) -> None:
    request = post("/", body=b"x" * 100)
    step = len(request) // pieces + 1
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        for start in range(0, len(request), step):
            await peer.send(request[start : start + step])
            await asyncio.sleep(0)
        assert (await peer.response()).endswith(b'{"read":100}')
