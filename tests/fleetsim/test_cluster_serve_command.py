from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from words import words_of

from fleetsim import Fleet
from fleetsim.cli import run

LAUNCHERS: list[dict[str, str]] = [
    {"PALS_RANKID": "0", "PMI_SIZE": "5", "PALS_LOCAL_RANKID": "0"},
    {"PMI_RANK": "1", "PMI_SIZE": "5"},
    {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "5", "PMIX_RANK": "2"},
    {"PMIX_RANK": "3"},
    {"SLURM_PROCID": "4", "SLURM_NTASKS": "5", "SLURM_LOCALID": "4"},
]


@asynccontextmanager
async def rank(folder: Path, environment: dict[str, str], *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One rank, as a launcher would start it on this machine."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetsim", "serve", "--register", str(folder), "--host", "127.0.0.1"),
        *("--advertise", "127.0.0.1", *options),
        env={key: value for key, value in os.environ.items() if not key.startswith(("PM", "SLURM"))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_ranks_of_every_launcher_make_one_fleet(tmp_path: Path) -> None:
    folder, hosts = tmp_path / "ranks", tmp_path / "hosts.tsv"
    async with Fleet(10, seed=7) as whole:
        words = [await words_of(server.port) for server in whole]
    async with (
        rank(folder, LAUNCHERS[0], "--size", "2", "--seed", "7") as first,
        rank(folder, LAUNCHERS[1], "--size", "2", "--seed", "7"),
        rank(folder, LAUNCHERS[2], "--size", "2", "--seed", "7"),
        rank(folder, LAUNCHERS[3], "--size", "2", "--seed", "7"),
        rank(folder, LAUNCHERS[4], "--size", "2", "--seed", "7") as last,
    ):
        gather = ["hostfile", str(folder), "--expect", "5", "--wait", "30s", "--output", str(hosts)]
        assert await asyncio.to_thread(run, gather) == 0
        lines = [line.split("\t") for line in hosts.read_text().splitlines()]
        assert [fields[2] for fields in lines] == [f"rank={number}" for number in range(5) for _ in range(2)]
        assert [await words_of(int(fields[1])) for fields in lines] == words
        assert last.stdout is not None
        said = (await last.stdout.readline()).decode()
        assert said == f"rank 4 of 5 (SLURM_PROCID): servers 8 to 9 on 127.0.0.1, in {folder / '4.tsv'}\n"
        first.terminate()
        assert (await first.communicate())[1] == b""
        assert first.returncode == 0
        assert sorted(path.name for path in folder.iterdir()) == ["1.tsv", "2.tsv", "3.tsv", "4.tsv"]


async def test_two_ranks_without_a_launcher_do_not_take_each_others_place(tmp_path: Path) -> None:
    async with rank(tmp_path, {}) as first:
        assert first.stdout is not None
        assert (await first.stdout.readline()).startswith(b"rank 0 (no launcher says which): servers 0 to 0 on ")
        async with rank(tmp_path, {}) as second:
            _, complaint = await second.communicate()
            assert second.returncode == 2
            assert b"expected a rank of its own for each process" in complaint
            assert len(complaint.splitlines()) == 1
        assert (tmp_path / "0.tsv").exists()


async def test_ranks_may_be_spread_speak_tls_and_be_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder, hosts, ca = tmp_path / "ranks", tmp_path / "hosts.tsv", tmp_path / "ca.pem"
    options = ("--size", "2", "--tls", "--processes", "2", "--control", "0")
    async with rank(folder, LAUNCHERS[1], *options) as second, rank(folder, LAUNCHERS[0], "--size", "2", "--tls"):
        gather = ["hostfile", str(folder), "--expect", "2", "--wait", "30s", "--output", str(hosts)]
        assert await asyncio.to_thread(run, [*gather, "--ca-file", str(ca)]) == 0
        assert "PRIVATE" not in "".join(path.read_text() for path in folder.iterdir())
        urls = [line.split("\t")[0] for line in hosts.read_text().splitlines()]
        assert [url.partition(":")[0] for url in urls] == ["https"] * 4
        trusting = ssl.create_default_context(cafile=ca)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            for url in urls:
                async with session.get(f"{url}/health") as response:
                    assert response.status == 200
        assert second.stdout is not None
        await second.stdout.readline()
        control = (await second.stdout.readline()).decode()
        command = control.partition("try  fleetsim ")[2].split()
        assert command[:4] == ["fault", "reset", "--server", "2"]
        assert await asyncio.to_thread(run, command) == 0
        second.terminate()
        out, complaints = await second.communicate()
        assert (second.returncode, out, complaints) == (0, b"rank 1: stopped after 2 requests on 2 connections\n", b"")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "Missing option '--register'"),
        ("--register /tmp --base-port 70000", "base_port: expected None or 1 to 65535 for 1 servers, got 70000"),
        ("--register /tmp --size 0", "Invalid value for '--size'"),
        ("--register /tmp --processes 2", "processes: expected 1 to 1 for 1 servers, got 2"),
        ("--register /tmp --control-token t", "--control-token: expected --control with it"),
    ],
)
def test_bad_input_is_refused(options: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", *options.split()]) == 2
    assert complaint in capsys.readouterr().err
