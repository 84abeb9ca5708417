from __future__ import annotations

import sys

import pytest

from loadtests.bench.peers.installed import CLIENTS, SERVERS, Peer, field_of, versions_in


def test_who_is_installed_takes_part_and_who_is_not_is_told_of() -> None:
    clients = (Peer("aiohttp", ("aiohttp",)), Peer("other", ("no-such-thing", "aiohttp")))
    field = field_of(clients, (Peer("aiohttp", ("aiohttp",)),), guidellm=None)
    assert (field.clients, field.servers) == (("aiohttp",), ("aiohttp",))
    (sentence,) = field.left_out
    assert sentence == "other is left out: no-such-thing and aiohttp must be installed (the dependency group `bench`)."
    assert field.versions["aiohttp"] == versions_in(sys.executable, ["aiohttp"])["aiohttp"]


def test_ours_and_aiohttp_always_take_part() -> None:
    field = field_of(guidellm=None)
    assert {"swarmpool", "aiohttp"} <= {*field.clients} <= {peer.name for peer in CLIENTS}
    assert {"fleetsim", "aiohttp"} <= {*field.servers} <= {peer.name for peer in SERVERS}


def test_guidellm_may_have_an_interpreter_of_its_own() -> None:
    field = field_of((), (Peer("guidellm", ("aiohttp",)),), guidellm=sys.executable)
    assert (field.servers, field.pythons["guidellm"]) == (("guidellm",), sys.executable)


def test_without_guidellm_a_sentence_says_what_to_do() -> None:
    (sentence,) = field_of((), (Peer("guidellm", ("no-such-thing",)),), guidellm=None).left_out
    assert "--guidellm names no interpreter" in sentence


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python", "No such file.*nowhere"),
        ("/bin/false", "^/bin/false does not answer as a Python interpreter would .exit code 1."),
        ("/bin/echo", "^/bin/echo does not answer as a Python interpreter would .exit code 0."),
    ],
)
def test_an_interpreter_that_is_none_is_an_error(python: str, said: str) -> None:
    with pytest.raises(OSError, match=said):
        field_of((), SERVERS, guidellm=python)
