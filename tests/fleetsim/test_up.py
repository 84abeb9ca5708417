from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from processes import is_running, running, until_gone

from fleetsim.cli import run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    async with running("2") as (process, _):
        process.send_signal(number)
        out, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
        assert out == b"stopped after 0 requests on 0 connections\n"


async def test_what_it_prints_works(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts.tsv"
    async with running("3", "--hostfile", str(hostfile), "--model", "m", "--output-tokens", "3") as (process, lines):
        assert lines[0].startswith("3 fake vLLM servers ready in ")
        assert "model=m  ttft=0s  itl=0s  keep-alive=5s  seed=0" in lines[0]
        urls = [line.strip() for line in lines[1:4]]
        assert lines[4] == f"hostfile  {hostfile}"
        assert lines[5] == f"export OPENAI_BASE_URL={urls[0]} OPENAI_API_KEY=sim"
        assert [f"http://{line.replace(chr(9), ':', 1)}/v1" for line in hostfile.read_text().splitlines()] == urls
        shell = lines[6].removeprefix("try  ")
        curl = await asyncio.to_thread(subprocess.run, shell, shell=True, capture_output=True, timeout=60, check=True)
        assert curl.stdout.count(b"data: ") == 1 + 3 + 1
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{urls[2]}/models", timeout=60).read())
        assert json.loads(body)["data"][0]["id"] == "m"
        process.terminate()
        out, _ = await process.communicate()
        assert out == b"stopped after 2 requests on 2 connections\n"


@pytest.mark.parametrize("named", [True, False])
async def test_with_tls_it_says_whom_to_trust(named: bool, tmp_path: Path) -> None:
    chosen = ("--ca-file", str(tmp_path / "the ca.pem")) if named else ()
    async with running("2", "--tls", "--output-tokens", "3", *chosen) as (process, lines):
        urls = [line.strip() for line in lines[1:3]]
        assert all(url.startswith("https://127.0.0.1:") for url in urls)
        trust = Path(shlex.split(lines[5])[1].removeprefix("SSL_CERT_FILE="))
        assert lines[5].startswith("export SSL_CERT_FILE=")
        assert not named or trust == tmp_path / "the ca.pem"
        shell = lines[6].removeprefix("try  ")
        curl = await asyncio.to_thread(subprocess.run, shell, shell=True, capture_output=True, timeout=60, check=True)
        assert curl.stdout.count(b"data: ") == 1 + 3 + 1
        script = f"import urllib.request; print(urllib.request.urlopen('{urls[1]}/models', timeout=60).status)"
        python = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script),
            env={**os.environ, "SSL_CERT_FILE": str(trust)},
            stdout=subprocess.PIPE,
        )
        assert (await python.communicate())[0] == b"200\n"
        process.terminate()
        await process.communicate()
    assert await asyncio.to_thread(trust.exists) is named


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own need not be."""
    with TemporaryDirectory(prefix="fleet-") as path:
        yield Path(path).resolve()


@pytest.mark.parametrize("spread", [(), ("--processes", "2")])
async def test_at_socket_files_it_prints_what_works_there(spread: tuple[str, ...], short_folder: Path) -> None:
    named = Path("..", *[".."] * len(Path.cwd().parts), *short_folder.parts[1:])
    async with running("2", "--unix-dir", str(named), "--output-tokens", "3", *spread) as (process, lines):
        assert [line.strip() for line in lines[1:3]] == [f"{short_folder}/server-{index}.sock" for index in range(2)]
        assert not any(line.startswith(("hostfile", "export")) for line in lines)
        shell = lines[3].removeprefix("try  ")
        curl = await asyncio.to_thread(subprocess.run, shell, shell=True, capture_output=True, timeout=60, check=True)
        assert curl.stdout.count(b"data: ") == 1 + 3 + 1
        process.terminate()
        out, complaints = await process.communicate()
        assert (out, complaints) == (b"stopped after 1 request on 1 connection\n", b"")


async def test_flags_lie_over_the_profile_and_the_profile_over_the_defaults(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("model: from-file\nttft: 2m\nkeepalive_timeout: 9s\napi_key: s3cret\n")
    flags = ("--ttft", "1.5s", "--jitter", "lognormal:30%", "--keepalive-timeout", "never", "--ending", "eager")
    async with running("1", "--profile", str(profile), *flags) as (_, lines):
        assert "model=from-file  ttft=1.5s  itl=0s  keep-alive=never ends  seed=0  ending=eager" in lines[0]
        assert "s3cret" not in "\n".join(lines)
        assert '-H "Authorization: Bearer $OPENAI_API_KEY"' in lines[4]


async def test_a_hostfile_nobody_asked_for_goes_with_the_fleet() -> None:
    async with running("20") as (process, lines):
        assert "... 13 more, all in the hostfile" in "\n".join(lines)
        (line,) = [line for line in lines if line.startswith("hostfile")]
        path = Path(line.split()[1])
        assert len(await asyncio.to_thread(path.read_bytes)) > 20 * len("127.0.0.1")
        process.terminate()
        await process.communicate()
    assert not await asyncio.to_thread(path.exists)


async def test_a_fleet_that_may_be_driven_is_found_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with running("2", "--control", "0", "--control-token", "s3cret") as (process, lines):
        (line,) = [line for line in lines if line.startswith("control ")]
        assert "s3cret" not in "\n".join(lines)
        command = line.partition("try  fleetsim ")[2].split()
        assert await asyncio.to_thread(run, command) == 0
        assert capsys.readouterr().out == "armed 1: reset  for=10s  server=0  armed=0  fired=0\n"
        assert [path.name for path in (tmp_path / "fleetsim").iterdir()] == [f"{process.pid}.json"]
        process.terminate()
        await process.communicate()
    assert list((tmp_path / "fleetsim").iterdir()) == []


def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["up", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err.strip()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("1 --ttft 8", "'--ttft': expected a duration such as 80ms, 1.5s, 2m or 0, got '8'"),
        ("1 --output-tokens some", "'--output-tokens': expected a whole number of at least 1, got 'some'"),
        ("1 --jitter wild", "'--jitter': expected none, normal or lognormal, got 'wild'"),
        ("1 --jitter normal:much", "'--jitter': spread: expected a number of at least 0, such as 0.1"),
        ("1 --ending nope", "'--ending': unknown ending 'nope'; expected one of split, eager"),
        ("1 --model ''", "'--model': expected a name, got "),
        ("2 --base-port 65535", "base_port: expected None or 1 to 65534 for 2 servers, got 65535"),
        ("1 --profile /none.yaml", "/none.yaml: cannot be read: No such file or directory"),
        ("2 --unix-dir /s --hostfile h.tsv", "--hostfile: expected no --unix-dir with it"),
        ("2 --unix-dir /s --base-port 80", "base_port: expected None beside unix_dir, got 80"),
        ("2 --processes 3", "processes: expected 1 to 2 for 2 servers, got 3"),
        ("2 --processes 2:again", "'--processes': expected a whole number of at least 1, such as 2, or 2:restart, got"),
        ("2 --processes 0", "'--processes': expected a whole number of at least 1, such as 2, or 2:restart, got '0'"),
        ("1 --control 70000", "control_port: expected None or 0 to 65535, got 70000"),
        ("1 --ca-file ca.pem", "--ca-file: expected --tls with it"),
        ("1 --control-token secret", "--control-token: expected --control with it"),
        ("1 --tls --ca-file /none/ca.pem", "--ca-file: /none/ca.pem cannot be written: No such file or directory"),
        ("1 --hostfile /none/hosts.tsv", "--hostfile: /none/hosts.tsv cannot be written: No such file or directory"),
    ],
)
def test_bad_input_is_refused_with_place_and_expectation(
    arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in complaint_of(shlex.split(arguments), capsys)


def test_a_bad_profile_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("model: m\nending: reset;after=soon\n")
    complaint = complaint_of(["1", "--profile", str(profile)], capsys)
    assert f"{profile}:2: ending: fault 'reset'" in complaint


@contextmanager
def holding_the_second_of_two_ports() -> Iterator[int]:
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            with suppress(OSError):
                socket.create_server(("127.0.0.1", port - 1)).close()
                yield port
                return
    pytest.fail("no two ports in a row are free")


def test_a_port_in_use_leaves_no_server_listening(capsys: pytest.CaptureFixture[str]) -> None:
    with holding_the_second_of_two_ports() as port:
        complaint = complaint_of(["2", "--base-port", str(port - 1)], capsys)
        assert f"fleetsim: cannot listen on 127.0.0.1 port {port}: " in complaint
        socket.create_server(("127.0.0.1", port - 1)).close()


def test_the_process_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.listdir("/proc/self/fd")
    complaint_of(["1", "--hostfile", "/none/hosts.tsv"], capsys)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.listdir("/proc/self/fd")) == before


def pids_in(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("process ")]


async def test_a_signal_ends_all_processes_of_a_fleet() -> None:
    async with running("5", "--processes", "2") as (process, lines):
        shards = pids_in(lines)
        assert len(shards) == 2
        assert lines[-2].endswith("   servers 2 to 4")
        urls = [line.strip() for line in lines if line.startswith("  http")]
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{urls[4]}/models", timeout=60).read())
        assert json.loads(body)["data"][0]["id"] == "sim"
        process.terminate()
        out, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
        assert out == b"stopped after 1 request on 1 connection\n"
        assert not any(map(is_running, shards))


async def test_processes_whose_fleet_is_killed_end_by_themselves() -> None:
    async with running("4", "--processes", "2") as (process, lines):
        process.kill()
        await until_gone(pids_in(lines))


async def test_a_process_that_is_killed_is_reported_in_a_line_and_by_the_exit_code() -> None:
    async with running("4", "--processes", "2") as (process, lines):
        assert process.stderr is not None
        first, second = pids_in(lines)
        os.kill(first, signal.SIGKILL)
        said = (await process.stderr.readline()).decode()
        assert said == (
            f"fleetsim up: shard 0 (servers 0 to 1, process {first}) was killed by SIGKILL; "
            "its connections and counts are gone\n"
        )
        process.terminate()
        _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (1, b"")
        assert not is_running(second)


async def test_a_process_that_is_killed_is_started_again_if_that_was_asked_for(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts.tsv"
    async with running("2", "--processes", "2:restart", "--hostfile", str(hostfile)) as (process, lines):
        assert process.stderr is not None
        os.kill(pids_in(lines)[1], signal.SIGKILL)
        await process.stderr.readline()
        assert b"serves again, on the same ports" in await process.stderr.readline()
        port = hostfile.read_text().splitlines()[1].split("\t")[1]
        await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60).close())
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
