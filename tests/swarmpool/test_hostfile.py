from __future__ import annotations

import io
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import HostfileError, SwarmPoolError
from swarmpool.hostfile import parse_hostfile, write_hostfile


def parse(text: str) -> list[AgentEndpoint]:
    return parse_hostfile(io.StringIO(text))


def urls(text: str) -> list[str]:
    return [endpoint.url for endpoint in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node7\t8001\n", ["http://node7:8001"]),
        ("node7\n", ["http://node7:8000"]),
        ("node7", ["http://node7:8000"]),
        ("node7\t\t\n", ["http://node7:8000"]),
        ("node7\r\nnode8\t8001\r\n", ["http://node7:8000", "http://node8:8001"]),
        ("# agents\n\n  # indented\nnode7 # the first\nnode8\t8001\t# the second\n", ["http://node7:8000", "http://node8:8001"]),
        ("node7:8001\n10.0.0.7:8002\n", ["http://node7:8001", "http://10.0.0.7:8002"]),
        ("node7 8001\n", ["http://node7:8001"]),
        ("node7\t4\n", ["http://node7:4"]),
        ("node7:80\nnode8:443\n", ["http://node7:80", "http://node8:443"]),
        ("[::1]\n[::1]:8001\n::1\t8002\nfe80::7\n", ["http://[::1]:8000", "http://[::1]:8001", "http://[::1]:8002", "http://[fe80::7]:8000"]),
        ("http://node7:8001\nhttps://node8\nhttp://[::1]:9/\n", ["http://node7:8001", "https://node8:443", "http://[::1]:9"]),
        ("http://node7:8001/v1\n", ["http://node7:8001"]),
        ("nodeB\nnodeB\nnodeA\nnodeB\n", ["http://nodeB:8000", "http://nodeA:8000"]),
        ("nid[001-003]\n", ["http://nid001:8000", "http://nid002:8000", "http://nid003:8000"]),
        ("nid[8-10,2]:8001\n", ["http://nid8:8001", "http://nid9:8001", "http://nid10:8001", "http://nid2:8001"]),
        ("r[0-1]n[0-1]-ib\t9\n", ["http://r0n0-ib:9", "http://r0n1-ib:9", "http://r1n0-ib:9", "http://r1n1-ib:9"]),
        ("a,b[1-2],c:8001\n", ["http://a:8000", "http://b1:8000", "http://b2:8000", "http://c:8001"]),
        ('["node7", "node8:8001", "https://Node9"]', ["http://node7:8000", "http://node8:8001", "https://Node9:443"]),
        ('[["node7", 8001], {"host": "node8"}]', ["http://node7:8001", "http://node8:8000"]),
        ('\n [ {"url": "https://node7:8443/v1"} ]', ["https://node7:8443"]),
    ],
)  # fmt: skip
def test_every_dialect_is_read(text: str, expected: list[str]) -> None:
    assert urls(text) == expected


def test_tags_follow_the_address_in_every_dialect_that_has_them() -> None:
    text = "node7\t8001\track=a\tnote=two words\nnode8 slots=4 max_slots=8\nhttps://node9\track=b=c\tempty=\n"
    assert [dict(endpoint.tags) for endpoint in parse(text)] == [
        {"rack": "a", "note": "two words"},
        {"slots": "4", "max_slots": "8"},
        {"rack": "b=c", "empty": ""},
    ]
    assert parse('[{"host": "node7", "tags": {"rack": "a"}}]')[0].tags == {"rack": "a"}


def test_a_hash_inside_a_value_is_no_comment() -> None:
    assert parse("node7\t8000\tcolour=#ff0000")[0].tags == {"colour": "#ff0000"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node7\nnode8\t80000\n", "<hostfile>, line 2: port must be 1 to 65535, got 80000"),
        ("node7\t0", "line 1: port must be 1 to 65535, got 0"),
        ("node7\teight", "line 1: port must be 1 to 65535, got 'eight'"),
        ("node7\t٣", "line 1: port must be 1 to 65535, got '٣'"),
        ("node7:80000", "line 1: port must be 1 to 65535, got 80000"),
        ("node7:http", "line 1: port must be 1 to 65535, got 'http'"),
        ("node7:4", "line 1: 'node7:4' may mean port 4 or 4 processes: write 'node7' if you mean the processes, 'http://node7:4'"),
        ("node7:8001\t8002", "line 1: the port is given twice, as 8001 in 'node7:8001' and as 8002"),
        ("node7\t8000\track", "line 1: a tag must be written key=value, got 'rack'"),
        ("node7\t8000\t=a", "line 1: a tag must be written key=value, got '=a'"),
        ("node7\t8000\track=a\track=b", "line 1: a tag is given twice in 'rack=a rack=b'"),
        ("no de:7:8", "line 1: port must be 1 to 65535, got 'de:7:8'"),
        ("ftp://node7", "line 1: a URL must look like http://host:port or https://host:port, got 'ftp://node7'"),
        ("http://node7/v2", "line 1: a URL must look like http://host:port or https://host:port, got 'http://node7/v2'"),
        ("http://:8000", "line 1: a URL must look like http://host:port or https://host:port, got 'http://:8000'"),
        ("http://node7:99999", "line 1: port must be 1 to 65535, got 99999"),
        ("http://node7:0", "line 1: port must be 1 to 65535, got 0"),
        ("nid[3-1]", "line 1: a range must look like [001-004] or [1,3-5], got '3-1' in 'nid[3-1]'"),
        ("nid[1,]", "line 1: a range must look like [001-004] or [1,3-5], got '' in 'nid[1,]'"),
        ("nid[0-999999999]", "line 1: 'nid[0-999999999]' stands for more than 100000 hosts"),
        ("n[0-999]a[0-999]", "line 1: 'n[0-999]a[0-999]' stands for more than 100000 hosts"),
        ("nid[a-b]", "line 1: host must be a name or an IP address, got 'nid[a-b]'"),
        ("node7\track=a\nnode8\nnode7\track=b", "has the tags {'rack': 'b'}, but {'rack': 'a'} at <hostfile>, line 1"),
        ("", "<hostfile> names no host: expected one per line"),
        ("# nothing yet\n", "<hostfile> names no host: expected one per line"),
        ("[]", "<hostfile> names no host: expected one per line"),
        ('["node7",\n "node8"', "<hostfile>, line 2: not valid JSON: Expecting ',' delimiter"),
        ('["node7", 8000]', '<hostfile>, item 2: an agent must be "host:port", ["host", port] or {"host"'),
        ('[{"host": "node7", "prot": 1}]', "item 1: unknown key 'prot': an agent has host, port, scheme, tags, url"),
        ('[{"port": 8000}]', "item 1: an agent needs 'host' or 'url', got {'port': 8000}"),
        ('[{"url": "http://node7", "port": 8000}]', "item 1: 'port' is given beside 'url', which says it already"),
        ('[{"url": 7}]', "item 1: a URL must look like http://host:port or https://host:port, got '7'"),
        ('[{"host": "node7", "port": "8000"}]', "item 1: port must be an integer, got '8000'"),
        ('[["node7", 8000, 1]]', "item 1: an agent must be"),
        ('{"host": "node7"}', "line 1: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place_its_value_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(HostfileError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(HostfileError, match="line 1: a URL in a hostfile must not carry a user") as caught:
        parse("https://user:hunter2@node7")
    assert "hunter2" not in str(caught.value)


def test_errors_are_value_errors_of_this_package_and_keep_their_cause() -> None:
    with pytest.raises(HostfileError) as caught:
        parse("node7\t80000")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SwarmPoolError)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_path_is_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "fleet.tsv"
    path.write_text("node7\t80000")
    for given_as in (path, str(path)):
        with pytest.raises(HostfileError, match=r"fleet\.tsv, line 1: port must be"):
            parse_hostfile(given_as)


def test_an_unreadable_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(HostfileError, match=r"missing\.tsv cannot be read: .*No such file"):
        parse_hostfile(tmp_path / "missing.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HostfileError, match=r"binary\.tsv cannot be read: .*codec can't decode"):
        parse_hostfile(tmp_path / "binary.tsv")


def test_a_byte_order_mark_is_no_part_of_the_first_host(tmp_path: Path) -> None:
    path = tmp_path / "fleet.tsv"
    path.write_bytes(b"\xef\xbb\xbfnode7\t8001\n")
    assert parse_hostfile(path) == [AgentEndpoint("node7", 8001)]


def test_the_written_file_is_the_tab_separated_dialect(tmp_path: Path) -> None:
    path = tmp_path / "fleet.tsv"
    write_hostfile(path, [AgentEndpoint("node7", 8001, {"rack": "a"}), AgentEndpoint("::1"), ("node8", 8002),
                          AgentEndpoint("node9", 8443, scheme="https")])  # fmt: skip
    assert path.read_text() == "node7\t8001\track=a\n[::1]\t8000\nnode8\t8002\nhttps://node9:8443\n"


hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9\-]{0,20}(\.[a-z]{2,5})?", fullmatch=True),
    st.ip_addresses().map(str),
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
endpoints = st.builds(
    AgentEndpoint,
    hosts,
    st.integers(1, 65535),
    st.dictionaries(words.filter(bool), words, max_size=3),
    st.sampled_from(["http", "https"]),
)


@given(st.lists(endpoints, min_size=1, max_size=5, unique_by=lambda endpoint: endpoint.url))
def test_what_is_written_is_read_back_or_refused(written: list[AgentEndpoint]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read_back_or_refused(Path(folder) / "fleet.tsv", written)


def read_back_or_refused(path: Path, written: list[AgentEndpoint]) -> None:
    try:
        write_hostfile(path, written)
    except HostfileError:
        assert any(endpoint.tags for endpoint in written)
        assert not path.exists()
    else:
        assert parse_hostfile(path) == written


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    try:
        found = parse(text)
    except HostfileError:
        return
    assert found


@pytest.mark.parametrize("value", ["a\tb", "a\nb", "a ", "a #b", "a\r"])
def test_a_tag_the_file_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path, value: str) -> None:
    path = tmp_path / "fleet.tsv"
    path.write_text("node7\n")
    with pytest.raises(HostfileError, match="cannot be written as the line"):
        write_hostfile(path, [AgentEndpoint("node8", tags={"note": value})])
    assert path.read_text() == "node7\n"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "fleet.tsv").mkdir()
    for path in (tmp_path / "fleet.tsv", tmp_path / "missing" / "fleet.tsv"):
        with pytest.raises(HostfileError, match=r"fleet\.tsv cannot be written: "):
            write_hostfile(path, [AgentEndpoint("node7")])
    assert os.listdir(tmp_path) == ["fleet.tsv"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "fleet.tsv"
    sizes = (1, 2000)
    write_hostfile(path, [("node0", 8000)])

    def write() -> None:
        for turn in range(30):
            write_hostfile(path, [(f"node{number}", 8000) for number in range(sizes[turn % 2])])

    writer = threading.Thread(target=write)
    writer.start()
    seen = {len(parse_hostfile(path))}
    while writer.is_alive():
        seen.add(len(parse_hostfile(path)))
    writer.join()
    assert seen <= set(sizes)
    assert os.listdir(tmp_path) == ["fleet.tsv"]
