"""Hostfiles that are written: the text of each dialect, and that it is read back as it was or refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import HostfileError
from swarmpool.hostfile import parse_hostfile, write_hostfile
from swarmpool.hostfile_text import hostfile_text

DIALECTS = ["tsv", "urls", "env", "json", "prometheus"]
PLAIN = [AgentEndpoint("node7", 8001), AgentEndpoint("::1"), AgentEndpoint("node9", 443, scheme="https")]
TAGGED = [AgentEndpoint("node7", 4, {"rack": "a"}), AgentEndpoint("node8", tags={"rack": "a"}), AgentEndpoint("::1")]

JSON = """[
  {"host": "node7", "port": 8001},
  {"host": "::1", "port": 8000},
  {"host": "node9", "port": 443, "scheme": "https"}
]
"""
GROUPS = """[
  {"targets": ["node7:8001", "[::1]:8000"]},
  {"targets": ["node9:443"], "labels": {"__scheme__": "https"}}
]
"""

hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9\-]{0,20}(\.[a-z]{2,5})?", fullmatch=True),
    st.ip_addresses().map(str),
    st.sampled_from(["a,b", "AGENTS=a", "export", "A=b"]),  # which an endpoint takes for names
)
words = st.text(max_size=6)
labels = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True)
endpoints = st.builds(
    AgentEndpoint,
    hosts,
    st.integers(1, 65535),
    st.dictionaries(labels | words.filter(bool), words, max_size=2),
    st.sampled_from(["http", "https"]),
)
fleets = st.lists(endpoints, min_size=1, max_size=4, unique_by=lambda endpoint: endpoint.url)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("tsv", "node7\t8001\n[::1]\t8000\nhttps://node9:443\n"),
        ("urls", "http://node7:8001\nhttp://[::1]:8000\nhttps://node9:443\n"),
        ("env", "AGENTS=node7:8001,[::1]:8000,https://node9:443\n"),
        ("json", JSON),
        ("prometheus", GROUPS),
    ],
)
def test_each_dialect_is_written_as_it_is_known(dialect: str, text: str) -> None:
    assert hostfile_text(PLAIN, dialect) == text


def test_tags_are_written_where_there_is_room_for_them() -> None:
    assert hostfile_text(TAGGED, "urls") == "http://node7:4\track=a\nhttp://node8:8000\track=a\nhttp://[::1]:8000\n"
    assert json.loads(hostfile_text(TAGGED, "json"))[0] == {"host": "node7", "port": 4, "tags": {"rack": "a"}}
    assert json.loads(hostfile_text(TAGGED, "prometheus")) == [
        {"targets": ["node7:4", "node8:8000"], "labels": {"rack": "a"}},
        {"targets": ["[::1]:8000"]},
    ]


@given(st.sampled_from(DIALECTS), fleets, st.booleans())
def test_what_is_written_is_read_back_or_refused(dialect: str, fleet: list[AgentEndpoint], named: bool) -> None:
    try:
        text = hostfile_text(fleet, dialect)
    except HostfileError:
        assert dialect != "json"
        assert dialect != "prometheus" or any(endpoint.tags for endpoint in fleet)
    else:
        assert parse_hostfile(io.StringIO(text), dialect if named else None) == fleet


@given(st.sampled_from(DIALECTS), st.lists(st.builds(AgentEndpoint, st.ip_addresses().map(str)), max_size=4))
def test_plain_addresses_can_be_written_in_any_dialect(dialect: str, fleet: list[AgentEndpoint]) -> None:
    assert hostfile_text(fleet, dialect).endswith("\n") or not fleet


@pytest.mark.parametrize(
    ("dialect", "tags", "message"),
    [
        ("env", {"rack": "a"}, "has tags, which the dialect 'env' cannot hold: leave them out (tags=False)"),
        ("prometheus", {"my rack": "a"}, "has the tag 'my rack', which is no name of a Prometheus label"),
        ("prometheus", {"__scheme__": "ftp"}, "has the tag '__scheme__', which is no name of a Prometheus label"),
        ("urls", {"note": "a\tb"}, "cannot be written as the line"),
        ("tsv", {"note": "\ud800"}, "cannot be written as the line"),
    ],
)
def test_a_tag_that_has_no_room_is_refused(dialect: str, tags: dict[str, str], message: str) -> None:
    with pytest.raises(HostfileError) as caught:
        hostfile_text([AgentEndpoint("node7", tags=tags)], dialect)
    assert message in str(caught.value)


def test_a_file_may_be_written_without_tags(tmp_path: Path) -> None:
    path = tmp_path / "agents.env"
    write_hostfile(path, TAGGED, "env", tags=False)
    assert path.read_text() == "AGENTS=node7:4,node8:8000,[::1]:8000\n"
    assert [endpoint.url for endpoint in parse_hostfile(path)] == [endpoint.url for endpoint in TAGGED]


def test_a_dialect_that_is_not_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="dialect must be one of tsv, urls, env, json, prometheus to be written, not 'pbs'"
    ):
        write_hostfile(tmp_path / "nodes", PLAIN, "pbs")
    assert list(tmp_path.iterdir()) == []
