from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from answers import hello

from fleetsim import Fleet, FleetEndpoint
from fleetsim.fleet_options import spread_tags, write_hostfile

ENDPOINTS = [FleetEndpoint("127.0.0.1", 8000, {"zone": "a"}), FleetEndpoint("::1", 8001)]
KEEPALIVE = "keepalive_timeout: expected seconds of at least 0, or None for never, got "
PROFILE = "profile: expected a Profile or None (Profile.parse takes a mapping), got "


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"size": True}, "size: expected a whole number of at least 1, got True"),
        ({"size": "8"}, "size: expected a whole number of at least 1, got '8'"),
        ({"base_port": 0}, "base_port: expected None or 1 to 65534 for 2 servers, got 0"),
        ({"base_port": 65535}, "base_port: expected None or 1 to 65534 for 2 servers, got 65535"),
        ({"ports": [1]}, "ports: expected None or one for each of 2 servers, got [1]"),
        ({"ports": 8000}, "ports: expected None or one for each of 2 servers, got 8000"),
        ({"ports": [0, 65536]}, "ports: expected 0 to 65535 for each server, got 65536"),
        ({"ports": [0, 0], "base_port": 1}, "base_port: expected None where ports are given, got 1"),
        ({"first_index": -1}, "first_index: expected a whole number of at least 0, got -1"),
        ({"keepalive_timeout": -1}, KEEPALIVE + "-1"),
        ({"keepalive_timeout": "5s"}, KEEPALIVE + "'5s'"),
        (
            {"keepalive_timeout": math.inf},
            "keepalive_timeout: expected seconds of at least 0, or None for never, got inf",
        ),
        (
            {"keepalive_timeout": math.nan},
            "keepalive_timeout: expected seconds of at least 0, or None for never, got nan",
        ),
        ({"profile": "x"}, PROFILE + "'x'"),
        (
            {"profile": {"seed": 1}},
            PROFILE + "{'seed': 1}",
        ),
        ({"answer": "hello"}, "answer: expected a function of the server's index, or None, got 'hello'"),
        ({"seed": "x"}, "seed: expected a whole number, or None for the profile's, got 'x'"),
        ({"seed": True}, "seed: expected a whole number, or None for the profile's, got True"),
        ({"journal_lines": "x"}, "journal_lines: expected a whole number of at least 0, got 'x'"),
        ({"journal_lines": -1}, "journal_lines: expected a whole number of at least 0, got -1"),
        ({"host": 5}, "host: expected an address or a name as text, got 5"),
        ({"tls": "yes"}, "tls: expected True, False, or None for the profile's, got 'yes'"),
        ({"unix_dir": 5}, "unix_dir: expected the path of a folder, or None, got 5"),
        ({"unix_dir": ""}, "unix_dir: expected the path of a folder, or None, got ''"),
        ({"unix_dir": "/run", "base_port": 9000}, "base_port: expected None beside unix_dir, got 9000"),
        ({"unix_dir": "/" + "x" * 99}, "unix_dir: expected a path of at most 10"),
        ({"tags": 5}, "tags: expected a mapping, one for each server, or a function of the index, got 5"),
        ({"tags": "ab"}, "tags: expected a mapping, one for each server, or a function of the index, got 'ab'"),
        ({"tags": [{}]}, "tags: expected one mapping for each of 2 servers, got 1"),
        ({"tags": {"a=b": "c"}}, "tags: server 0: expected a key without '=', got 'a=b'"),
        ({"tags": {"": "c"}}, "tags: server 0: expected a key without '=', got ''"),
        ({"tags": {"a": "b\tc"}}, "tags: server 0: expected text without tabs or line ends, got 'b\\tc'"),
        ({"tags": {"a": 1}}, "tags: server 0: expected text without tabs or line ends, got 1"),
        ({"ending": "slow"}, "unknown ending 'slow'; expected one of "),
    ],
)
def test_an_argument_that_cannot_be_is_named_with_what_was_expected(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        Fleet(**{"size": 2, "answer": lambda index: hello, **options})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("tags", "spread"),
    [
        (None, [{}, {}]),
        ({"zone": "a"}, [{"zone": "a"}, {"zone": "a"}]),
        ([{"zone": "a"}, {}], [{"zone": "a"}, {}]),
        (lambda index: {"rank": str(index)}, [{"rank": "0"}, {"rank": "1"}]),
    ],
    ids=["none", "one for all", "one each", "a function"],
)
def test_tags_are_spread_over_the_servers(tags: Any, spread: list[dict[str, str]]) -> None:
    assert spread_tags(tags, 2) == spread


def test_a_hostfile_has_tabs_between_host_port_and_tags(tmp_path: Path) -> None:
    path = write_hostfile(tmp_path / "hosts", ENDPOINTS)
    assert path.read_text() == "127.0.0.1\t8000\tzone=a\n::1\t8001\n"


def test_a_hostfile_has_urls_where_the_scheme_is_not_http(tmp_path: Path) -> None:
    path = write_hostfile(tmp_path / "hosts", [FleetEndpoint("::1", 8000, {"zone": "a"}, "https")])
    assert path.read_text() == "https://[::1]:8000\tzone=a\n"


def test_a_hostfile_is_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("before")
    write_hostfile(path, ENDPOINTS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["hosts"]


def test_a_hostfile_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.mkdir()
    with pytest.raises(OSError):
        write_hostfile(path, ENDPOINTS)
    assert os.listdir(tmp_path) == ["hosts"]
    with pytest.raises(FileNotFoundError):
        write_hostfile(tmp_path / "nowhere" / "hosts", ENDPOINTS)
