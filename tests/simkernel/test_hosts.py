from __future__ import annotations

import socket

import pytest

from simkernel.hosts import Hosts, literal_address
from simkernel.links import Target


def test_each_new_host_gets_an_address_of_its_own() -> None:
    hosts = Hosts()
    assert [hosts.add(name).address for name in ("a", "b", "a")] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_a_host_can_be_given_its_addresses_once() -> None:
    hosts = Hosts()
    assert hosts.add("a", ["192.168.0.7", "192.168.0.8"]).addresses == ("192.168.0.7", "192.168.0.8")
    with pytest.raises(ValueError, match="host 'a' has the addresses"):
        hosts.add("a", ["192.168.0.9"])
    with pytest.raises(ValueError, match="nonsense"):
        hosts.add("b", ["nonsense"])


def test_a_name_resolves_to_all_addresses_of_its_host() -> None:
    hosts = Hosts()
    hosts.add("a", ["10.1.0.1", "10.1.0.2"])
    assert hosts.resolve("a") == ("10.1.0.1", "10.1.0.2")
    assert hosts.resolve("localhost") == ("127.0.0.1",)
    with pytest.raises(socket.gaierror, match="Name or service not known"):
        hosts.resolve("b")


def test_a_name_that_failed_twice_resolves_when_both_are_taken_back() -> None:
    hosts = Hosts()
    hosts.fail("localhost", socket.EAI_AGAIN)
    hosts.fail("localhost", socket.EAI_FAIL)
    hosts.succeed("localhost", socket.EAI_FAIL)
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        hosts.resolve("localhost")
    hosts.succeed("localhost", socket.EAI_AGAIN)
    assert hosts.resolve("localhost")


def test_a_target_can_be_written_in_many_ways() -> None:
    hosts = Hosts()
    host = hosts.add("a")
    whole, port = Target(frozenset(host.addresses)), Target(frozenset(host.addresses), 80)
    assert [hosts.target(each) for each in ("a", host, "10.0.0.1")] == [whole] * 3
    assert [hosts.target(each) for each in ("a:80", (host, 80), ("a", 80), "10.0.0.1:80")] == [port] * 4
    assert hosts.target(None) == Target()


@pytest.mark.parametrize(
    ("name", "address"), [("10.0.0.1", "10.0.0.1"), ("", "0.0.0.0"), (None, "0.0.0.0"), ("a", None)]
)
def test_only_a_name_has_to_be_looked_up(name: str | None, address: str | None) -> None:
    assert literal_address(name) == address
