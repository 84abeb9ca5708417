from __future__ import annotations

import copy
import dataclasses
import pickle
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from yarl import URL

from swarmpool.endpoints import AgentEndpoint, Tags, as_endpoint


def test_a_host_alone_is_enough() -> None:
    endpoint = AgentEndpoint("node7")
    assert (endpoint.host, endpoint.port, endpoint.tags, endpoint.scheme) == ("node7", 8000, {}, "http")
    assert endpoint.url == "http://node7:8000"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("::1", "http://[::1]:9000"),
        ("[::1]", "http://[::1]:9000"),
        ("fe80::1%eth0", "http://[fe80::1%eth0]:9000"),
        ("x3005c0s7b0n0.hostmgmt.local", "http://x3005c0s7b0n0.hostmgmt.local:9000"),
        ("under_score", "http://under_score:9000"),
    ],
)
def test_the_url_names_host_and_port_whatever_the_kind_of_host(host: str, url: str) -> None:
    endpoint = AgentEndpoint(host, 9000)
    assert endpoint.url == url
    assert URL(endpoint.url).host == endpoint.host
    assert URL(endpoint.url).port == 9000


def test_https_is_kept_in_the_url() -> None:
    assert AgentEndpoint("node7", 8443, scheme="https").url == "https://node7:8443"


def test_endpoints_compare_and_hash_by_value_tags_included() -> None:
    one = AgentEndpoint("node7", 8000, {"rack": "a", "gpu": "0"})
    same = AgentEndpoint("node7", 8000, {"gpu": "0", "rack": "a"})
    other = AgentEndpoint("node7", 8000, {"gpu": "1", "rack": "a"})
    assert one == same != other
    assert len({one, same, other}) == 2
    assert AgentEndpoint("[::1]") == AgentEndpoint("::1")


def test_nothing_about_an_endpoint_can_be_changed() -> None:
    tags = {"rack": "a"}
    endpoint = AgentEndpoint("node7", tags=tags)
    tags["rack"] = "b"
    assert endpoint.tags == {"rack": "a"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        endpoint.host = "node8"  # type: ignore[misc]  # the refusal is what is tested
    with pytest.raises(TypeError):
        endpoint.tags["rack"] = "b"  # type: ignore[index]  # the refusal is what is tested


@pytest.mark.parametrize("remake", [copy.deepcopy, copy.copy, lambda it: pickle.loads(pickle.dumps(it))])
def test_an_endpoint_survives_being_copied_and_pickled(remake: Any) -> None:
    endpoint = AgentEndpoint("node7", 8001, {"rack": "a"}, "https")
    twin = remake(endpoint)
    assert twin == endpoint
    assert hash(twin) == hash(endpoint)


def test_the_repr_can_be_pasted_back() -> None:
    endpoint = AgentEndpoint("node7", 8001, {"rack": "a"})
    assert repr(endpoint) == "AgentEndpoint(host='node7', port=8001, tags={'rack': 'a'}, scheme='http')"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"host": ""}, ValueError, "host must not be empty"),
        ({"host": 7}, TypeError, "host must be a string, got 7"),
        ({"host": "node7:8000"}, ValueError, "host must be a name or an IP address without a port, got 'node7:8000'"),
        ({"host": "[node7]"}, ValueError, "host must be a name or an IP address without a port, got '[node7]'"),
        ({"host": "http://node7"}, ValueError, "host must be a name or an IP address without a port"),
        ({"host": "node 7"}, ValueError, "host must be a name or an IP address, got 'node 7'"),
        ({"host": "node7/v1"}, ValueError, "host must be a name or an IP address, got 'node7/v1'"),
        ({"host": "a@b"}, ValueError, "host must be a name or an IP address, got 'a@b'"),
        ({"host": "node\x00"}, ValueError, r"host must be a name or an IP address, got 'node\x00'"),
        ({"host": "n", "port": 0}, ValueError, "port must be 1 to 65535, got 0"),
        ({"host": "n", "port": 65536}, ValueError, "port must be 1 to 65535, got 65536"),
        ({"host": "n", "port": "8000"}, TypeError, "port must be an integer, got '8000'"),
        ({"host": "n", "port": True}, TypeError, "port must be an integer, got True"),
        ({"host": "n", "tags": ["rack"]}, TypeError, "tags must be a mapping of strings to strings, got ['rack']"),
        ({"host": "n", "tags": {"rack": 1}}, TypeError, "tags['rack'] must be a string, got 1"),
        ({"host": "n", "tags": {1: "rack"}}, TypeError, "tags must have strings as keys, got 1"),
        ({"host": "n", "tags": {"": "x"}}, ValueError, "tags must not have an empty key, got one with the value 'x'"),
        ({"host": "n", "scheme": "ftp"}, ValueError, "scheme must be 'http' or 'https', got 'ftp'"),
    ],
)
def test_a_bad_field_is_named_with_its_value(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        AgentEndpoint(**arguments)
    assert message in str(caught.value)


def test_an_endpoint_may_be_given_as_a_pair() -> None:
    endpoint = AgentEndpoint("node7", 8001)
    assert as_endpoint(("node7", 8001)) == endpoint
    assert as_endpoint(endpoint) is endpoint


class Server(NamedTuple):
    host: str
    port: int
    tags: dict[str, str]


def test_whatever_has_a_host_and_a_port_is_an_endpoint_too() -> None:
    """So that the endpoints of a test fleet can be handed to a pool as they are, though neither knows the other."""
    assert as_endpoint(Server("node7", 8001, {"rack": "a"})) == AgentEndpoint("node7", 8001, {"rack": "a"})
    assert as_endpoint(SimpleNamespace(host="node7", port=8443, scheme="https")).url == "https://node7:8443"


@pytest.mark.parametrize("value", ["node7", ("node7",), ("node7", 8000, {}), None, 7])
def test_what_is_neither_endpoint_nor_pair_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"an endpoint must be an AgentEndpoint or a \(host, port\) pair, got "):
        as_endpoint(value)


def test_tags_are_equal_to_the_mapping_they_were_made_of() -> None:
    tags = Tags({"rack": "a", "gpu": "0"})
    assert tags == {"gpu": "0", "rack": "a"}
    assert list(tags) == ["rack", "gpu"]
    assert len(tags) == 2
    assert tags.get("slot") is None
