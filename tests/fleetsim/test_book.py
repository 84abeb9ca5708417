from __future__ import annotations

import pytest

from fleetsim.book import Book


def book_of(servers: int, *, journal_lines: int = 100) -> Book:
    book = Book(journal_lines=journal_lines)
    for _ in range(servers):
        book.add_part()
    return book


def test_the_peak_of_the_fleet_is_the_peak_of_the_sum() -> None:
    """Each server has had two open at once, the fleet never more than two."""
    book = book_of(2)
    for server in (0, 1):
        lines = [book.opened(server, "peer", 0.0) for _ in range(2)]
        for line in lines:
            book.closed(line, "client", "fin", 1.0)
    assert [part.peak_open for part in book.parts.values()] == [2, 2]
    assert book.total.peak_open == 2
    assert (book.total.opened, book.total.closed, book.total.open_now) == (4, 4, 0)


def test_a_request_that_is_not_the_first_on_its_connection_reuses_it() -> None:
    book = book_of(1)
    for _ in range(2):
        connection = book.opened(0, "peer", 0.0)
        for _ in range(3):
            book.ended(book.arrived(connection, "GET", "/", 1.0), 200, "split", "complete", 2.0)
        book.closed(connection, "server", "fin", 3.0)
    assert (book.total.requests, book.total.reused, book.total.in_flight) == (6, 4, 0)
    assert book.total.ended_connections == {3: 2}


def test_requests_in_flight_are_counted_over_the_fleet() -> None:
    book = book_of(2)
    requests = [book.arrived(book.opened(server, "peer", 0.0), "GET", "/", 1.0) for server in (0, 1)]
    assert (book.total.in_flight, book.parts[0].in_flight) == (2, 1)
    for request in requests:
        book.ended(request, 200, "split", "complete", 2.0)
    assert (book.total.in_flight, book.total.peak_in_flight, book.parts[1].peak_in_flight) == (0, 2, 1)


def test_connections_and_requests_are_numbered_over_the_fleet() -> None:
    book = book_of(2)
    lines = [book.opened(server, "peer", 0.0) for server in (1, 0)]
    assert [(line.connection, line.server) for line in lines] == [(1, 1), (2, 0)]
    requests = [book.arrived(lines[index], "GET", "/", 1.0) for index in (1, 0, 1)]
    assert [(line.number, line.connection, line.on_connection) for line in requests] == [
        (1, 2, 1),
        (2, 1, 1),
        (3, 2, 2),
    ]


def test_a_full_ring_drops_its_oldest_line_and_says_whose() -> None:
    book = book_of(2, journal_lines=2)
    for server in (0, 0, 1):
        book.opened(server, "peer", 0.0)
    assert [line.connection for line in book.ring if hasattr(line, "peer")] == [2, 3]
    assert (book.total.dropped, book.parts[0].dropped, book.parts[1].dropped) == (1, 1, 0)
    assert book.total.open_now == 3


def test_a_ring_may_have_no_lines_but_not_fewer() -> None:
    book = book_of(1, journal_lines=0)
    book.opened(0, "peer", 0.0)
    assert (len(book.ring), book.total.dropped, book.total.opened) == (0, 1, 1)
    with pytest.raises(ValueError, match="journal_lines must be at least 0, got -1"):
        Book(journal_lines=-1)


def test_each_event_calls_whoever_watches_the_part_or_the_whole() -> None:
    book, heard = book_of(2), list[str]()
    book.parts[0].watchers.append(lambda: heard.append("part"))
    book.total.watchers.append(lambda: heard.append("total"))
    connection = book.opened(0, "peer", 0.0)
    request = book.arrived(connection, "GET", "/", 0.0)
    book.ended(request, 200, "split", "complete", 0.0)
    book.closed(connection, "client", "fin", 0.0)
    assert heard == ["part", "total"] * 4
    book.opened(1, "peer", 0.0)
    assert heard[8:] == ["total"]
