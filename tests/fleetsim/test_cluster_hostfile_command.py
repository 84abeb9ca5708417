from __future__ import annotations

from pathlib import Path

import pytest

from fleetsim import FleetEndpoint
from fleetsim.cli import run
from fleetsim.cluster.ranks import Rank
from fleetsim.cluster.registry import registered


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PBS_JOBID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def test_the_files_of_all_ranks_become_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "hosts.tsv"
    with (
        registered(tmp_path, Rank(1, 2), None, [FleetEndpoint("b", 1), FleetEndpoint("b", 2)]),
        registered(tmp_path, Rank(0, 2), None, [FleetEndpoint("a", 1, {"rank": "0"})]),
    ):
        assert run(["hostfile", str(tmp_path)]) == 0
        assert capsys.readouterr() == ("a\t1\trank=0\nb\t1\nb\t2\n", "")
        assert run(["hostfile", str(tmp_path), "--output", str(output)]) == 0
        assert output.read_text() == "a\t1\trank=0\nb\t1\nb\t2\n"
        assert run(["hostfile", str(tmp_path), "--output", "/none/hosts.tsv"]) == 2
        assert "--output: /none/hosts.tsv cannot be written: No such file" in capsys.readouterr().err


def test_the_authorities_of_all_ranks_become_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranks, ca = tmp_path / "ranks", tmp_path / "ca.pem"
    gather = ["hostfile", str(ranks), "--ca-file", str(ca)]
    with registered(ranks, Rank(1, 2), None, [FleetEndpoint("b", 1)], b"one ==\n"):
        with registered(ranks, Rank(0, 2), None, [FleetEndpoint("a", 1)], b"nought\n"):
            assert run(gather) == 0
            assert ca.read_text() == "nought\none ==\n"
        with registered(ranks, Rank(0, 2), None, [FleetEndpoint("a", 1)]):
            assert run(gather) == 0
            assert ca.read_text() == "one ==\n"
    capsys.readouterr()
    with registered(ranks, Rank(0, 1), None, [FleetEndpoint("a", 1)]):
        assert run(gather) == 2
    assert "--ca-file: expected ranks of `fleetsim serve --tls`, and none speaks TLS" in capsys.readouterr().err


def test_missing_ranks_are_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registered(tmp_path, Rank(1), None, [FleetEndpoint("a", 1)]):
        assert run(["hostfile", str(tmp_path), "--expect", "3", "--wait", "0.01"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "1 of 3 ranks are there; missing 0, 2\n"
        f"fleetsim hostfile: {tmp_path}: after 10ms 1 of 3 ranks are there; missing 0, 2\n"
    )


@pytest.mark.parametrize("wait", ["soon", "-1", "5 parsecs"])
def test_a_wait_that_cannot_be_is_refused(wait: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hostfile", str(tmp_path), f"--wait={wait}"]) == 2
    assert "--wait: expected a duration such as 80ms, 1.5s, 2m or 0, got" in capsys.readouterr().err
