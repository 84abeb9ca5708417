"""A fleet on Unix sockets: the file of each, and what the ledger and the faults make of a client without a port."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from answers import hello
from faulty import BODY, UNARY_HEAD
from raw_http import Peer, TlsPeer, dated, post

from fleetsim import BindError, FakeVLLMServer, Fleet, FleetError
from fleetsim.wire.unix import LONGEST, SocketFile, check_socket_path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own need not be."""
    with TemporaryDirectory(prefix="fleet-") as path:
        yield Path(path)


def fleet_at(folder: Path, size: int = 1, *, tls: bool = False) -> Fleet:
    return Fleet(size, answer=lambda index: hello, unix_dir=folder, tls=tls)


def file_of(fleet: Fleet, index: int = 0) -> Path:
    path = fleet[index].path
    assert path is not None
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_each_server_listens_at_a_file_of_its_own_which_goes_with_it(folder: Path) -> None:
    async with fleet_at(folder, 2) as fleet:
        assert files_in(folder) == ["server-0.sock", "server-1.sock"]
        for index in (0, 1):
            async with Peer(file_of(fleet, index)) as peer:
                await peer.send(post("/"))
                assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
        assert [server.ledger.requests for server in fleet] == [1, 1]
        assert repr(fleet[1]).startswith(f"<FakeVLLMServer 1 serving, {folder}/server-1.sock, ")
    assert files_in(folder) == []


async def test_aiohttps_unix_connector_is_served_over_one_connection(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        connector = aiohttp.UnixConnector(str(file_of(fleet)))
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(3):
                async with session.post(fleet[0].url, data=b"four") as response:
                    assert await response.read() == b'{"read":4}'
        await fleet.ledger.wait_for(open_now=0)
        (record,) = fleet.ledger.connection_records()
        assert (record.peer, record.requests, record.ended_by) == ("unix", 3, "client")


async def test_a_unix_socket_may_speak_tls(folder: Path) -> None:
    async with fleet_at(folder, tls=True) as fleet:
        assert fleet[0].base_url == "https://localhost/v1"
        async with TlsPeer(file_of(fleet), fleet.ssl_context(), "localhost") as peer:
            await peer.shake_hands()
            await peer.send(post("/"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_headers_that_ask_for_faults_are_honoured_for_nobody_else_can_reach_it(folder: Path) -> None:
    async with fleet_at(folder) as fleet, Peer(file_of(fleet)) as peer:
        await peer.send(post("/", "x-fleet-fault: truncated;after=3"))
        assert (await peer.to_the_end()).endswith(b"\r\n\r\n" + BODY[:3])


async def test_a_reset_is_an_end_like_a_fin_and_is_written_down_as_one(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        with fleet[0].fault("reset", after_bytes=3):
            async with Peer(file_of(fleet)) as peer:
                await peer.send(post("/"))
                assert (await peer.to_the_end()).endswith(b"\r\n\r\n" + BODY[:3])
        await fleet.ledger.wait_for(open_now=0)
        (record,) = fleet.ledger.connection_records()
        assert (record.ended_by, record.ended_how) == ("server", "fin")


async def test_while_a_fault_refuses_the_file_stays_and_nobody_answers_there(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        async with fleet[0].fault("refuse"):
            with pytest.raises(ConnectionRefusedError):
                await Peer(file_of(fleet)).__aenter__()
        async with Peer(file_of(fleet)) as peer:
            await peer.send(post("/"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert files_in(folder) == []


async def test_while_accepting_is_paused_the_file_stays_and_connects_succeed(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        await fleet[0].pause_accepting()
        async with Peer(file_of(fleet)) as peer:
            await peer.send(post("/"))
            assert fleet.ledger.opened == 0
            await fleet[0].resume_accepting()
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_drained_server_has_no_file_any_more(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        await fleet[0].drain()
        assert files_in(folder) == []


async def test_a_socket_left_over_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(folder / "server-0.sock"))
    async with fleet_at(folder) as fleet, Peer(file_of(fleet)) as peer:
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_another_file_of_that_name_is_left_alone(folder: Path) -> None:
    (folder / "server-1.sock").write_text("precious")
    with pytest.raises(BindError) as caught:
        await fleet_at(folder, 2).__aenter__()
    assert str(caught.value) == f"cannot listen on {folder}/server-1.sock: Address already in use"
    assert files_in(folder) == ["server-1.sock"]
    assert (folder / "server-1.sock").read_text() == "precious"


async def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(BindError, match=r"cannot listen on /none/server-0\.sock: No such file or directory"):
        await fleet_at(Path("/none")).__aenter__()


async def test_a_file_that_another_server_has_put_there_since_is_left_alone(folder: Path) -> None:
    async with fleet_at(folder):
        (folder / "server-0.sock").unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(folder / "server-0.sock"))
    assert (folder / "server-0.sock").exists()


async def test_where_there_is_no_port_none_is_made_up(folder: Path) -> None:
    async with fleet_at(folder) as fleet:
        assert fleet.urls == ("http://localhost",)
        for ask in (lambda: fleet[0].port, lambda: fleet.endpoints, lambda: fleet.hostfile(folder / "hosts")):
            with pytest.raises(FleetError) as caught:
                ask()
            assert str(caught.value) == f"server 0 has no port: it listens at {folder}/server-0.sock"


async def test_a_server_of_its_own_listens_at_a_path(folder: Path) -> None:
    server = FakeVLLMServer(hello, path=folder / "own.sock")
    await server.start()
    try:
        async with Peer(folder / "own.sock") as peer:
            await peer.send(post("/"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        await server.close()
    assert files_in(folder) == []


def test_the_longest_path_is_the_longest_that_the_kernel_takes(folder: Path) -> None:
    longest = folder / ("x" * (LONGEST - len(os.fsencode(folder)) - 1))
    check_socket_path("path", longest)
    file = SocketFile(longest)
    file.bind().close()
    file.remove()
    with pytest.raises(ValueError) as caught:
        FakeVLLMServer(hello, path=f"{longest}y")
    expected = f"path: expected a path of at most {LONGEST} bytes for a socket, got {LONGEST + 1}: '{longest}y'"
    assert str(caught.value) == expected
    with pytest.raises(OSError, match="too long"):
        SocketFile(Path(f"{longest}y")).bind()
