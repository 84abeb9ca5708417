from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleetsim import FleetEndpoint
from fleetsim.cluster.ranks import Rank
from fleetsim.cluster.registry import Registration, read_registrations, registered
from fleetsim.errors import FleetError

ENDPOINTS = [FleetEndpoint("node7", 8000, {"rank": "3"}), FleetEndpoint("node7", 8001, {"rank": "3"})]
HERE = socket.gethostname()


def gone() -> int:
    """The id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_rank_is_there_while_it_lasts_and_not_after(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    with registered(folder, Rank(3, 128), "4711", ENDPOINTS) as path:
        assert path == folder / "3.tsv"
        assert path.read_text() == (
            f"# fleetsim rank=3 ranks=128 job=4711 node={HERE} pid={os.getpid()}\n"
            "node7\t8000\trank=3\nnode7\t8001\trank=3\n"
        )
        found = read_registrations(folder)
        assert found == {3: Registration(3, 128, "4711", lines=("node7\t8000\trank=3\n", "node7\t8001\trank=3\n"))}
        assert found[3].addresses == ["node7 8000", "node7 8001"]
        assert os.stat(path).st_mode & 0o777 == 0o644
    assert list(folder.iterdir()) == []


def test_ranks_come_in_order_and_nothing_else_is_read(tmp_path: Path) -> None:
    (tmp_path / ".3.tsv.x1").write_text("half")
    (tmp_path / "hosts.tsv").write_text("node1\t8000\n")
    with (
        registered(tmp_path, Rank(10), None, ENDPOINTS),
        registered(tmp_path, Rank(9), None, ENDPOINTS),
        registered(tmp_path, Rank(0), None, ENDPOINTS),
    ):
        assert list(read_registrations(tmp_path)) == [0, 9, 10]


def test_no_rank_takes_the_place_of_another(tmp_path: Path) -> None:
    """All ranks are rank 0 where nobody tells them their numbers."""
    with registered(tmp_path, Rank(0), None, ENDPOINTS):
        with (
            pytest.raises(FleetError, match=rf"0\.tsv is of process {os.getpid()} on .*: expected a rank of its own"),
            registered(tmp_path, Rank(0), None, ENDPOINTS),
        ):
            pass
        assert list(read_registrations(tmp_path)) == [0]
        assert [path.name for path in tmp_path.iterdir()] == ["0.tsv"]


@pytest.mark.parametrize(
    ("there", "replaced"),
    [
        (Registration(0, job="1", node=HERE, pid=gone()), True),
        (Registration(0, job="1", node="elsewhere", pid=1), False),
        (Registration(0, job="0", node="elsewhere", pid=1), True),
        (Registration(0, job=None, node="elsewhere", pid=1), False),
    ],
    ids=["a process that is gone", "another node", "another job", "nobody knows"],
)
def test_what_is_left_over_is_replaced(tmp_path: Path, there: Registration, replaced: bool) -> None:
    (tmp_path / "0.tsv").write_text(there.written())
    if replaced:
        with registered(tmp_path, Rank(0), "1", ENDPOINTS):
            assert read_registrations(tmp_path)[0].pid == os.getpid()
    else:
        with pytest.raises(FleetError, match="on elsewhere"), registered(tmp_path, Rank(0), "1", ENDPOINTS):
            pass
        assert read_registrations(tmp_path)[0] == there


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FleetError, match=r"--register: .*file/0\.tsv cannot be written: "),
        registered(tmp_path / "file", Rank(0), None, ENDPOINTS),
    ):
        pass


@pytest.mark.parametrize("text", ["node1\t8000\n", "# fleetsim rank=x node=a pid=1\n", "# fleetsim node=a pid=1\n", ""])
def test_a_file_that_no_rank_has_written_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "7.tsv").write_text(text)
    with pytest.raises(FleetError, match=r"7\.tsv: (expected # fleetsim rank=N|cannot be read)"):
        read_registrations(tmp_path)
