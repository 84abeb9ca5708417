"""Dialects that are named: what each reads, and what it refuses that another would read."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.dialects import ITEM_DIALECTS, LINE_DIALECTS, read_any_item, read_any_line
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import HostfileError
from swarmpool.hostfile import parse_hostfile

GROUPS = """
[{"targets": ["node7:4", "[::1]:9"], "labels": {"rack": "a", "__scheme__": "https"}},
 {"targets": ["c"]}]
"""


def read(text: str, dialect: str | None = None) -> list[AgentEndpoint]:
    return parse_hostfile(io.StringIO(text), dialect)


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("tsv", "node7\t4\tnote=two words\n# end\n", [AgentEndpoint("node7", 4, {"note": "two words"})]),
        ("tsv", "node7:80\nhttps://node8\n", [AgentEndpoint("node7", 80), AgentEndpoint("node8", 443, scheme="https")]),
        (
            "hosts",
            "node7:4\n[::1]:9\n::1 10 rack=a\n",
            [AgentEndpoint("node7", 4), AgentEndpoint("::1", 9), AgentEndpoint("::1", 10, {"rack": "a"})],
        ),
        (
            "urls",
            "http://node7:4/v1\n\nhttps://[::1]\track=a\n",
            [AgentEndpoint("node7", 4), AgentEndpoint("::1", 443, {"rack": "a"}, "https")],
        ),
        (
            "mpi",
            "node7:4\nnode8 slots=2 max_slots=3\nnode9\n::1\n",
            [
                AgentEndpoint("node7", tags={"slots": "4"}),
                AgentEndpoint("node8", tags={"slots": "2", "max_slots": "3"}),
                AgentEndpoint("node9"),
                AgentEndpoint("::1"),
            ],
        ),
        ("pbs", "node7\nnode7\nnode8\n", [AgentEndpoint("node7"), AgentEndpoint("node8")]),
        (
            "slurm",
            "nid[001-002,007],gpu1:80\n",
            [AgentEndpoint("nid001"), AgentEndpoint("nid002"), AgentEndpoint("nid007"), AgentEndpoint("gpu1", 80)],
        ),
        (
            "env",
            "export AGENTS='node7:4, https://node8,[::1]:9'\n",
            [AgentEndpoint("node7", 4), AgentEndpoint("node8", 443, scheme="https"), AgentEndpoint("::1", 9)],
        ),
        ("env", 'HF_TOKEN=hf_x y\n# ours\nAGENTS="node[1-2]"\n', [AgentEndpoint("node1"), AgentEndpoint("node2")]),
        ("json", '["node7", {"host": "node8", "port": 4}]', [AgentEndpoint("node7"), AgentEndpoint("node8", 4)]),
        (
            "prometheus",
            GROUPS,
            [
                AgentEndpoint("node7", 4, {"rack": "a"}, "https"),
                AgentEndpoint("::1", 9, {"rack": "a"}, "https"),
                AgentEndpoint("c"),
            ],
        ),
    ],
)
def test_each_dialect_reads_its_own(dialect: str, text: str, expected: list[AgentEndpoint]) -> None:
    assert read(text, dialect) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AGENTS=node7:4,node8\n", [AgentEndpoint("node7", 4), AgentEndpoint("node8")]),
        ('# here\nexport AGENTS="https://node7"\n', [AgentEndpoint("node7", 443, scheme="https")]),
        (
            '[{"targets": ["node7:4"], "labels": {"a": "b"}}, "node8"]',
            [AgentEndpoint("node7", 4, {"a": "b"}), AgentEndpoint("node8")],
        ),
    ],
)
def test_variables_and_service_discovery_are_known_by_their_looks(text: str, expected: list[AgentEndpoint]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("dialect", "text", "message"),
    [
        ("tsv", "a\nnode7 8000", "line 2: host must be a name or an IP address, got 'node7 8000'"),
        ("hosts", "node7\track", "line 1: port must be 1 to 65535, got 'rack'"),
        ("urls", "node7:8000", "line 1: a URL must look like http://host:port or https://host:port, got 'node7:8000'"),
        ("mpi", "node7:four", "line 1: a host of MPI must look like node7, node7:4 or node7 slots=4, got 'node7:four'"),
        ("mpi", "node7 4", "line 1: a tag must be written key=value, got '4'"),
        ("pbs", "node7:8000", "line 1: a PBS nodefile has a host per line and nothing else, got 'node7:8000'"),
        ("pbs", "node7 slots=4", "line 1: host must be a name or an IP address, got 'node7 slots=4'"),
        ("slurm", "nid[3-1]", "line 1: a range must look like"),
        ("env", "node7:8000", "line 1: a line must set a variable, as AGENTS=host:port,host:port does"),
        ("env", "AGENT=node7", "<hostfile> names no host"),
        ("json", "node7", "line 1: not valid JSON"),
        ("json", '{"host": "node7"}', "<hostfile>: expected a JSON list, got a JSON dict"),
        ("json", '[{"targets": ["a"]}]', "item 1: unknown key 'targets'"),
        ("prometheus", '["node7"]', 'item 1: a group must be {"targets": ["host:port"], "labels": {...}}, got'),
        ("prometheus", '[{"targets": "a"}]', "item 1: a group must be"),
        ("prometheus", '[{"targets": ["a"], "label": {}}]', "item 1: a group must be"),
        ("prometheus", '[{"targets": [7]}]', 'item 1: a target must be "host:port", got 7'),
        (
            "prometheus",
            '[{"targets": ["a"], "labels": {"__scheme__": "ftp"}}]',
            "item 1: scheme must be 'http' or 'https'",
        ),
        ("prometheus", '[{"targets": ["a"], "labels": {"rack": 7}}]', "item 1: tags['rack'] must be a string, got 7"),
    ],
)
def test_a_named_dialect_reads_nothing_else(dialect: str, text: str, message: str) -> None:
    with pytest.raises(HostfileError) as caught:
        read(text, dialect)
    assert message in str(caught.value)


def test_other_variables_are_neither_read_nor_shown() -> None:
    with pytest.raises(HostfileError, match="line 2: a line must set a variable") as caught:
        read("TOKEN=hunter2\nhunter3", "env")
    assert "hunter" not in str(caught.value)
    assert read("TOKEN=hunter2\nAGENTS=node7", "env") == [AgentEndpoint("node7")]


def test_a_dialect_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"dialect must be one of tsv, hosts, .*, prometheus or None, not 'xml'"):
        read("node7", "xml")


@given(st.sampled_from([*LINE_DIALECTS.values(), read_any_line]), st.text(max_size=40))
def test_any_line_is_read_or_refused(reader: Any, line: str) -> None:
    with suppress(ValueError, TypeError):
        assert all(isinstance(endpoint, AgentEndpoint) for endpoint in reader(line))


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["targets", "labels", "host", "port", "tags", "url"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from([*ITEM_DIALECTS.values(), read_any_item]), VALUES)
def test_any_item_is_read_or_refused(reader: Any, item: Any) -> None:
    with suppress(ValueError, TypeError):
        assert all(isinstance(endpoint, AgentEndpoint) for endpoint in reader(item))
