from __future__ import annotations

import pytest

from fleetsim.lab.connector import PUBLISHED, Variant, connector_room
from fleetsim.lab.reader import NotReadable, ReadableConnector
from fleetsim.lab.room import Account, visit

ADD_UP = "available: 4, 3, 4, 3, 2   acquired keys: 1, 1, 2, 2, 2"


def account_of(variant: Variant) -> Account:
    return visit(connector_room(variant))


@pytest.mark.parametrize(
    "variant",
    [PUBLISHED, Variant(chunked=True), Variant(compressed=True), Variant(compressed=True, chunked=True)],
    ids=["published", "chunked", "gzip", "gzip-chunked"],
)
def test_the_published_row_comes_out_where_the_eof_beats_the_next_head(variant: Variant) -> None:
    account = account_of(variant)
    assert account.conclusion == "available: 4, 4, 4, 3, 2   acquired keys: 1, 1, 1, 1, 1"
    assert account.problems == ()


@pytest.mark.parametrize("latency", [0.0, 0.02])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_with_a_truly_eager_eof_nothing_of_a_is_held(latency: float, chunked: bool, compressed: bool) -> None:
    account = account_of(Variant(eof=None, latency=latency, chunked=chunked, compressed=compressed))
    assert account.conclusion == "available: 5, 5, 4, 3, 2   acquired keys: 0, 0, 1, 1, 1"
    assert account.problems == ()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_eof_later_than_all_of_it_adds_up(chunked: bool) -> None:
    assert account_of(Variant(eof=60.0, chunked=chunked)).conclusion == ADD_UP


def test_a_body_beyond_the_read_buffer_holds_its_connection_however_eager() -> None:
    assert account_of(Variant(eof=None, body=4_000_000)).conclusion == ADD_UP


def test_the_fleet_saw_two_connections_at_a_and_three_at_b() -> None:
    rows = account_of(PUBLISHED).rows
    assert [row.done for row in rows] == ["#1 GET A", "#2 GET A", "#3 GET B", "#4 GET B", "#5 GET B"]
    assert rows[1].fleet == "A 2 opened, 1 in flight; B 0 opened, 0 in flight"
    assert rows[-1].fleet == "A 2 opened, 0 in flight; B 3 opened, 3 in flight"


def test_with_an_eager_eof_the_second_request_reuses_the_first_ones_connection() -> None:
    rows = account_of(Variant(eof=None)).rows
    assert rows[1].fleet == "A 1 opened, 0 in flight; B 0 opened, 0 in flight"
    assert rows[1].why == "Its own EOF came with its head, so its connection was idle again before get() returned."


def test_each_row_says_why_in_one_sentence() -> None:
    whys = [row.why for row in account_of(PUBLISHED).rows]
    assert whys[0] == "Its own EOF has not been met yet: #1 holds 1 of 5."
    assert whys[1].startswith("While it waited for its head, #1 met its EOF and was given back unread; its own EOF")
    assert whys[4] == "Its own EOF has not been met yet: #3, #4 and #5 hold 3 of 5."


def test_where_aiohttp_has_gone_opaque_the_fleet_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = NotReadable("_available_connections")
    monkeypatch.setattr(ReadableConnector, "available", lambda connector, url: gone)
    account = account_of(PUBLISHED)
    assert not account.agrees
    assert account.rows[0].connector == f"available A {gone}; acquired keys 1"
    assert account.rows[0].fleet == "A 1 opened, 1 in flight; B 0 opened, 0 in flight"


def test_conditions_that_leave_it_to_the_machine_are_claimed_for_by_nobody() -> None:
    assert Variant(latency=0).claimed() is None
    assert Variant(eof=None, body=2_000_000).claimed() is None
