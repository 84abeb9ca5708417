from __future__ import annotations

import sys
from types import ModuleType

import pytest

from fleetsim.proofs import client as clients
from fleetsim.proofs.client import ClientError, MissingClientError, client_names, load_client, version_of


def register(monkeypatch: pytest.MonkeyPatch, **adapter: object) -> None:
    """Make the attributes `adapter` loadable as the client "mine"."""
    module = ModuleType("my_adapter")
    module.__dict__["client"] = type("Adapter", (), adapter)()
    monkeypatch.setitem(sys.modules, "my_adapter", module)
    monkeypatch.setattr(clients, "BUILT_IN", {"mine": "my_adapter:client"})


def test_the_baseline_is_built_in_and_swarmpool_is_found_by_its_entry_point() -> None:
    assert {"aiohttp", "swarmpool"} <= set(client_names())
    assert load_client("aiohttp").name == "aiohttp"
    assert load_client("swarmpool").name == "swarmpool"


def test_swarmpool_has_every_feature_so_that_no_claim_is_not_applicable() -> None:
    assert load_client("swarmpool").features == set(clients.FEATURES)


def test_an_unknown_client_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ClientError, match=r"no client 'nobody': expected one of aiohttp, .*swarmpool"):
        load_client("nobody")


def test_an_adapter_that_cannot_be_imported_is_an_error_naming_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BUILT_IN", {"gone": "fleetsim.no_such_module:client"})
    with pytest.raises(ClientError) as caught:
        load_client("gone")
    assert "client 'gone' (fleetsim.no_such_module:client) cannot be imported: No module named" in str(caught.value)
    assert not isinstance(caught.value, MissingClientError)


def test_an_adapter_without_build_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, name="mine", features=frozenset())
    with pytest.raises(ClientError, match="client 'mine' is no adapter: it lacks build"):
        load_client("mine")


def test_an_unknown_feature_is_an_error_that_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, name="mine", features=frozenset({"wings"}), build=lambda self, endpoints, options: None)
    with pytest.raises(ClientError, match=r"unknown features \['wings'\]: expected some of \['views', 'ledger', 'w"):
        load_client("mine")


def test_build_must_not_be_a_coroutine_function(monkeypatch: pytest.MonkeyPatch) -> None:
    async def build(self: object, endpoints: object, options: object) -> None: ...

    register(monkeypatch, name="mine", features=frozenset(), build=build)
    with pytest.raises(ClientError, match="build must be a plain function"):
        load_client("mine")


def test_one_of_ours_that_is_not_installed_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "fleetsim.proofs.httpx_client", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingClientError) as caught:
        load_client("httpx")
    assert str(caught.value) == "client 'httpx' needs httpx: pip install 'swarmpool[clients]'"


def test_a_client_may_say_its_version_and_is_called_by_its_name_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_of(load_client("aiohttp")).startswith("aiohttp 3.")
    assert version_of(load_client("swarmpool")).startswith("swarmpool ")
    register(monkeypatch, name="mine", features=frozenset(), build=lambda *_: None)
    assert version_of(load_client("mine")) == "mine"
