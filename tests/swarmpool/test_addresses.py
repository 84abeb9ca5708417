"""How agents are named; tests/swarmpool/test_hostfile.py has what whole files make of it."""

from __future__ import annotations

import pytest

from swarmpool.addresses import parse_address, parse_addresses, parse_url


def test_addresses_of_every_kind_are_separated_by_commas() -> None:
    assert list(parse_addresses("a,b[1-2]:8001,https://c,[::1]:9000")) == [
        ("http", "a", None),
        ("http", "b1", 8001),
        ("http", "b2", 8001),
        ("https", "c", 443),
        ("http", "[::1]", 9000),
    ]


def test_a_low_number_behind_a_colon_is_a_port_only_where_that_is_known() -> None:
    assert parse_address("node7:4", ports=True) == ("http", "node7", 4)
    with pytest.raises(ValueError, match="may mean port 4 or 4 processes"):
        parse_address("node7:4")


def test_a_url_without_a_port_has_its_schemes() -> None:
    assert [parse_url("http://a")[2], parse_url("https://a/v1")[2]] == [80, 443]


@pytest.mark.parametrize(
    "text", ["https://user:p,hunter2@node7", "node7,https://u:hunter2@node8", "http://hunter2@a,b"]
)
def test_no_password_is_taken_for_something_else_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must not carry a user or a password") as caught:
        list(parse_addresses(text))
    assert "hunter2" not in str(caught.value)
