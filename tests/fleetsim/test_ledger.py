from __future__ import annotations

import asyncio
import threading

import pytest
from answers import Witness, hello
from raw_http import Peer, post

from fleetsim import ConnectionRecord, Fleet, LedgerSnapshot, LedgerTimeoutError, RequestRecord
from fleetsim.book import Book
from fleetsim.ledger import Ledger


def written() -> tuple[Book, Ledger, Ledger]:
    """A book of two servers, the fleet's ledger, and the first server's."""
    book = Book()
    parts = [book.add_part() for _ in range(2)]
    return book, Ledger(book, book.total, None), Ledger(book, parts[0], 0)


async def test_the_fleet_and_each_server_answer_for_themselves() -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet:
        for server, requests in zip(fleet, (1, 3), strict=True):
            async with Peer(server.port) as peer:
                for _ in range(requests):
                    await peer.send(post("/"))
                    await peer.response()
        await fleet.ledger.wait_for(open_now=0, in_flight=0)
        whole, first, second = fleet.ledger.snapshot(), fleet[0].ledger.snapshot(), fleet[1].ledger.snapshot()
        assert (whole.opened, whole.closed, whole.requests, whole.reused) == (2, 2, 4, 2)
        assert (first.requests, first.reused, second.requests, second.reused) == (1, 0, 3, 2)
        assert whole.requests_per_connection == {1: 1, 3: 1}
        assert fleet[1].ledger.requests_per_connection == {3: 1}


def test_a_snapshot_is_every_figure_at_one_instant() -> None:
    book, fleet, _ = written()
    connection = book.opened(0, "peer", 0.0)
    book.arrived(connection, "GET", "/", 0.0)
    assert fleet.snapshot() == LedgerSnapshot(
        opened=1,
        closed=0,
        reused=0,
        open_now=1,
        peak_open=1,
        requests=1,
        in_flight=1,
        peak_in_flight=1,
        requests_per_connection={1: 1},
        dropped=0,
    )


def test_a_reader_in_another_thread_never_sees_half_an_event() -> None:
    book, fleet, _ = written()
    torn, done = list[LedgerSnapshot](), threading.Event()

    def read() -> None:
        while not done.is_set():
            now = fleet.snapshot()
            if now.opened != now.closed + now.open_now or sum(now.requests_per_connection.values()) != now.opened:
                torn.append(now)
            fleet.journal()

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3_000):
        connection = book.opened(0, "peer", 0.0)
        book.ended(book.arrived(connection, "GET", "/", 0.0), 200, "split", "complete", 0.0)
        book.closed(connection, "client", "fin", 0.0)
    done.set()
    reader.join()
    assert torn == []


def test_the_journal_is_in_order_and_each_server_sees_its_own() -> None:
    book, fleet, first = written()
    connections = [book.opened(server, f"peer {server}", 0.0) for server in (0, 1)]
    for connection in connections:
        book.arrived(connection, "GET", "/", 1.0)
    assert [type(each) for each in fleet.journal()] == [
        ConnectionRecord,
        ConnectionRecord,
        RequestRecord,
        RequestRecord,
    ]
    assert [each.server for each in first.journal()] == [0, 0]
    assert [each.peer for each in fleet.connection_records()] == ["peer 0", "peer 1"]
    assert [each.number for each in first.request_records()] == [1]


def test_the_repr_shows_the_figures() -> None:
    book, fleet, first = written()
    book.opened(0, "peer", 0.0)
    assert repr(fleet).startswith("<Ledger of fleet: opened=1, closed=0, reused=0, open_now=1, peak_open=1, ")
    assert repr(first).startswith("<Ledger of server 0: opened=1, ")


async def test_wait_for_returns_at_once_when_it_holds_now() -> None:
    _, fleet, _ = written()
    await fleet.wait_for(open_now=0, requests=0, timeout=0)


async def test_wait_for_is_woken_by_the_event_that_brings_it_about() -> None:
    book, fleet, _ = written()
    waiting = asyncio.create_task(fleet.wait_for(open_now=0, opened=2, timeout=None))
    await asyncio.sleep(0)
    for _ in range(2):
        line = book.opened(0, "peer", 0.0)
        await asyncio.sleep(0)
        assert not waiting.done()
        book.closed(line, "client", "fin", 0.0)
    await waiting
    assert book.total.watchers == []


async def test_a_gauge_must_be_equal_and_a_counter_at_least_as_high() -> None:
    book, fleet, _ = written()
    for _ in range(3):
        book.opened(0, "peer", 0.0)
    await fleet.wait_for(opened=2, peak_open=1)
    with pytest.raises(LedgerTimeoutError):
        await fleet.wait_for(open_now=2, timeout=0.001)


async def test_a_moment_that_has_passed_when_the_waiter_wakes_still_counts() -> None:
    book, fleet, _ = written()
    waiting = asyncio.create_task(fleet.wait_for(open_now=1))
    await asyncio.sleep(0)
    book.closed(book.opened(0, "peer", 0.0), "client", "fin", 0.0)
    await waiting


async def test_a_wait_that_is_too_long_says_what_was_wanted_and_what_there_is() -> None:
    book, fleet, _ = written()
    book.opened(0, "peer", 0.0)
    with pytest.raises(TimeoutError) as caught:
        await fleet.wait_for(open_now=0, requests=3, timeout=0.01)
    assert isinstance(caught.value, LedgerTimeoutError)
    assert str(caught.value) == "after 0.01 s: wanted open_now=0, requests=3, have open_now=1, requests=0"
    assert (caught.value.wanted, caught.value.present) == (
        {"open_now": 0, "requests": 3},
        {"open_now": 1, "requests": 0},
    )


async def test_a_cancelled_wait_watches_no_more() -> None:
    book, fleet, _ = written()
    waiting = asyncio.create_task(fleet.wait_for(opened=1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert book.total.watchers == []


async def test_a_figure_there_is_not_is_refused_by_name() -> None:
    _, fleet, _ = written()
    with pytest.raises(TypeError, match="the ledger has no figure 'open'; it has opened, closed, "):
        await fleet.wait_for(open=0)  # type: ignore[call-arg]  # the point
    with pytest.raises(TypeError, match="opened must be a whole number of at least 0, got -1"):
        await fleet.wait_for(opened=-1)
    with pytest.raises(TypeError, match="wait_for needs at least one figure"):
        await fleet.wait_for()


async def test_another_loop_may_wait_too() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, fleet.ledger.wait_for(in_flight=1)))
        await peer.send(post("/"))
        await elsewhere


def test_synchronous_code_may_wait_for_a_fleet_in_its_thread() -> None:
    with Fleet(1, answer=lambda index: hello) as fleet:
        fleet.ledger.wait_for_sync(open_now=0)
        with pytest.raises(LedgerTimeoutError, match="wanted opened=1, have opened=0"):
            fleet.ledger.wait_for_sync(opened=1, timeout=0.01)
    with pytest.raises(LedgerTimeoutError):
        fleet.ledger.wait_for_sync(opened=1)


async def test_the_synchronous_wait_refuses_to_block_the_fleets_own_loop() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with pytest.raises(RuntimeError, match="use `await ledger"):
            fleet.ledger.wait_for_sync(opened=1)


async def test_a_change_is_told_once_it_has_happened() -> None:
    book = Book()
    ledger = Ledger(book, book.total, None)
    book.add_part()
    assert await ledger.changed({"opened": 1, "open_now": 0}) == {"opened": 0, "open_now": 0}
    waiting = asyncio.create_task(ledger.changed({"opened": 0}))
    await asyncio.sleep(0)
    assert not waiting.done()
    book.opened(0, "peer", 0.0)
    assert await waiting == {"opened": 1}
    assert book.total.watchers == []
