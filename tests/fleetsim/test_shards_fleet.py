from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
from processes import is_running, until, until_gone
from raw_http import Peer, get, post
from words import words_of

from fleetsim import BindError, Fleet, FleetError, LedgerTimeoutError, Profile
from fleetsim.errors import ControlError
from fleetsim.shards.fleet import ShardedFleet, spread_servers
from fleetsim.shards.shard import Shard, ShardState


@pytest.fixture(autouse=True)
def strict_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning in a shard is its end."""
    monkeypatch.setenv("PYTHONWARNINGS", "error")


def pids_of(fleet: ShardedFleet) -> list[int]:
    return [shard.pid for shard in fleet.shards if shard.pid is not None]


async def ask(port: int, times: int = 1) -> None:
    """So many requests on one connection."""
    async with Peer(port) as peer:
        for _ in range(times):
            await peer.send(get("/health"))
            await peer.response()


class Lines:
    """What a fleet reports, to be waited for."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, line: str) -> None:
        self.taken.put_nowait(line)

    async def next(self) -> str:
        async with asyncio.timeout(20):
            return await self.taken.get()


def called(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


async def test_it_is_one_fleet_in_words_and_in_counts(tmp_path: Path) -> None:
    async with Fleet(5, seed=7) as whole:
        words = [await words_of(server.port) for server in whole]
    async with ShardedFleet(5, processes=2, seed=7, tags=lambda index: {"n": str(index)}) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
        assert [await words_of(port) for port in ports] == words
        assert fleet.hostfile(tmp_path / "hosts.tsv").read_text().splitlines() == [
            f"127.0.0.1\t{port}\tn={index}" for index, port in enumerate(ports)
        ]
        await ask(ports[1], times=3)
        await fleet.ledger.wait_for(closed=6)
        figures = await fleet.ledger.snapshot()
        assert (figures.opened, figures.requests, figures.reused, figures.open_now) == (6, 8, 2, 0)
        assert (figures.requests_per_connection, figures.lost) == ({1: 5, 3: 1}, ())
        one = await fleet.ledger.snapshot_of(1)
        assert (one.requests, one.peak_open, one.requests_per_connection) == (4, 1, {1: 1, 3: 1})
        assert (await fleet.ledger.snapshot_of(4)).requests == 1
        pids = pids_of(fleet)
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert await fleet.ledger.snapshot() == figures
    await fleet.ledger.wait_for(requests=8, open_now=0)
    with pytest.raises(LedgerTimeoutError, match="after 5 s: wanted requests=9, have requests=8"):
        await fleet.ledger.wait_for(requests=9)


async def test_whoever_waits_is_told_by_the_shard_where_it_happens() -> None:
    async with ShardedFleet(2, processes=2) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
        waiting = asyncio.create_task(fleet.ledger.wait_for(timeout=20, requests=4, open_now=0))
        given_up = asyncio.create_task(fleet.ledger.wait_for(timeout=None, requests=100))
        for port in (*ports, *ports):
            assert not waiting.done()
            await ask(port)
        await waiting
        given_up.cancel()
        with pytest.raises(LedgerTimeoutError, match="wanted in_flight=1, have in_flight=0"):
            await fleet.ledger.wait_for(timeout=0.01, in_flight=1)
        with pytest.raises(TypeError, match="the ledger has no figure 'peak_open'; it has opened, "):
            await fleet.ledger.wait_for(peak_open=1)  # type: ignore[call-arg]  # what is under test
        assert [type(each) for each in await asyncio.gather(given_up, return_exceptions=True)] == [
            asyncio.CancelledError
        ]


async def test_a_fault_strikes_where_the_number_in_the_whole_says() -> None:
    profile = Profile.parse({"faults": [{"fault": "unavailable", "where": {"server": 3}}]})
    async with ShardedFleet(4, processes=2, profile=profile, control_port=0) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
        async with await fleet.fault("before_head", where={"server": 2}, times=1) as rule:
            async with Peer(ports[2]) as peer:
                await peer.send(post("/"))
                assert await peer.to_the_end() == b""
            account = await rule.account()
            assert account is not None
            assert (rule.number, account.armed, account.fired, account.over) == (2, 1, 1, True)
        assert await rule.account() is None
        await ask(ports[1])
        listed = await asyncio.to_thread(called, fleet.control_url, "/-/faults")
        assert [(each["number"], each["where"]) for each in listed] == [(1, {"server": 3})]
        async with Peer(ports[3]) as peer:
            await peer.send(get("/health"))
            assert (await peer.response()).startswith(b"HTTP/1.1 503 ")
        assert await fleet.clear_faults() == 1
        await ask(ports[3])


async def test_a_script_is_played_by_each_server_in_whichever_process_it_is() -> None:
    profile = Profile.parse({"faults": [{"script": ["unavailable", "ok"], "where": {"server": [0, 2]}}]})
    async with ShardedFleet(3, processes=2, profile=profile, control_port=0) as fleet:
        given = {"script": "2x before_head", "where": {"server": 1}}
        armed = await asyncio.to_thread(called, fleet.control_url, "/-/faults", given)
        assert (armed["number"], armed["left"], armed["over"]) == (2, {"1": ["2x before_head"]}, False)
        for index in (0, 2):
            async with Peer(fleet.endpoints[index].port) as peer:
                await peer.send(get("/health"))
                assert (await peer.response()).startswith(b"HTTP/1.1 503 ")
        await ask(fleet.endpoints[2].port)
        listed = await asyncio.to_thread(called, fleet.control_url, "/-/faults")
        assert [(each["number"], each["armed"], each["fired"], each["left"]) for each in listed] == [
            (1, 3, 2, {"0": ["ok"], "2": []}),
            (2, 0, 0, {"1": ["2x before_head"]}),
        ]
        assert await fleet.clear_faults() == 2


async def test_one_control_port_answers_for_all() -> None:
    async with ShardedFleet(3, processes=2, control_port=0) as fleet:
        await ask(fleet.endpoints[2].port, times=2)
        await fleet.ledger.wait_for(closed=1)
        url = fleet.control_url
        servers = await asyncio.to_thread(called, url, "/-/servers")
        assert [(each["index"], each["url"], each["requests"]) for each in servers] == [
            (index, url, 2 if index == 2 else 0) for index, url in enumerate(fleet.urls)
        ]
        assert (await asyncio.to_thread(called, url, "/-/ledger"))["reused"] == 1
        assert (await asyncio.to_thread(called, url, "/-/ledger?server=2"))["peak_open"] == 1
        armed = await asyncio.to_thread(called, url, "/-/faults", {"fault": "refuse", "where": {"server": [0, 2]}})
        assert (armed["number"], armed["armed"], armed["fired"]) == (1, 2, 2)
        with pytest.raises(ConnectionRefusedError):
            await ask(fleet.endpoints[2].port)
        await ask(fleet.endpoints[1].port)


async def test_a_killed_shard_comes_back_on_its_ports_with_its_rules() -> None:
    lines = Lines()
    async with ShardedFleet(4, processes=2, restart_shards=True, report=lines) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
        words = [await words_of(port) for port in ports]
        await fleet.fault("before_head", where={"server": 3}, for_="1h")
        first, second = pids_of(fleet)
        os.kill(second, signal.SIGKILL)
        assert await lines.next() == (
            f"shard 1 (servers 2 to 3, process {second}) was killed by SIGKILL; its connections and counts are gone"
        )
        assert (
            await lines.next()
            == f"shard 1 (servers 2 to 3, process {pids_of(fleet)[1]}) serves again, on the same ports"
        )
        assert pids_of(fleet)[0] == first
        assert fleet.is_whole
        assert await words_of(ports[2]) == words[2]
        async with Peer(ports[3]) as peer:
            await peer.send(post("/"))
            assert await peer.to_the_end() == b""
        figures = await fleet.ledger.snapshot()
        assert (figures.requests, figures.lost) == (4, (1,))
        pids = [*pids_of(fleet), second]
    assert not any(map(is_running, pids))
    assert lines.taken.empty()


async def test_without_its_shard_a_server_is_dead_and_the_others_go_on() -> None:
    lines = Lines()
    async with ShardedFleet(2, processes=2, report=lines, control_port=0) as fleet:
        os.kill(pids_of(fleet)[0], signal.SIGTERM)
        assert "was killed by SIGTERM" in await lines.next()
        assert not fleet.is_whole
        assert [(each["state"], each["requests"]) for each in await fleet.servers()] == [("dead", None), ("serving", 0)]
        await ask(fleet.endpoints[1].port)
        await fleet.ledger.wait_for(requests=1)
        with pytest.raises(
            ControlError, match=r"shard 0 \(server 0, process \d+\): expected one that serves, for reset"
        ):
            await fleet.fault("reset", where={"server": 0})
        with pytest.raises(ControlError, match=r"shard 0 \(server 0, process \d+\) is lost, and cannot be asked"):
            await fleet.ledger.snapshot_of(0)
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            await asyncio.to_thread(called, fleet.control_url, "/-/ledger?server=0")
        with refused.value as answer:
            assert json.load(answer)["error"].endswith(" is lost, and cannot be asked")
        async with await fleet.fault("reset") as rule:
            assert rule.number == 1


async def test_a_shard_that_is_lost_while_its_figures_are_awaited_ends_the_wait() -> None:
    lines = Lines()
    async with ShardedFleet(2, processes=2, report=lines) as fleet:
        waiting = asyncio.create_task(fleet.ledger.wait_for(timeout=None, requests=5))
        await ask(fleet.endpoints[1].port)
        await fleet.ledger.wait_for(requests=1)
        os.kill(pids_of(fleet)[1], signal.SIGKILL)
        with pytest.raises(ControlError, match="shard 1 is gone, and cannot be asked"):
            await waiting
        await lines.next()


async def test_a_shard_that_will_not_end_is_killed_and_its_counts_are_lost() -> None:
    lines = Lines()
    async with ShardedFleet(2, processes=2, report=lines) as fleet:
        pids = pids_of(fleet)
        os.kill(pids[1], signal.SIGSTOP)
    assert not any(map(is_running, pids))
    assert (await fleet.ledger.snapshot()).lost == (1,)
    assert "did not end in time and was killed" in await lines.next()


async def test_one_authority_vouches_for_the_servers_of_every_process(tmp_path: Path) -> None:
    async with ShardedFleet(2, processes=2, profile=Profile(tls=True)) as fleet:
        assert fleet.hostfile(tmp_path / "hosts.tsv").read_text().splitlines() == list(fleet.urls)
        assert fleet.ca_file(tmp_path / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert "PRIVATE" not in (tmp_path / "ca.pem").read_text()
        for url in fleet.urls:
            assert url.startswith("https://127.0.0.1:")
            ask_it = partial(urllib.request.urlopen, f"{url}/health", timeout=10, context=fleet.ssl_context())
            with await asyncio.to_thread(ask_it) as response:
                assert response.status == 200
        await fleet.ledger.wait_for(requests=2, open_now=0)
    with pytest.raises(FleetError, match="this fleet speaks no TLS"):
        ShardedFleet(1, processes=1).ssl_context()


@contextmanager
def holding_the_last_of_two_ports() -> Iterator[int]:
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            with suppress(OSError):
                socket.create_server(("127.0.0.1", port - 1)).close()
                yield port
                return
    pytest.fail("no two ports in a row are free")


async def test_a_port_in_use_leaves_no_process() -> None:
    with holding_the_last_of_two_ports() as port:
        fleet = ShardedFleet(2, processes=2, base_port=port - 1)
        with pytest.raises(
            BindError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        ) as caught:
            async with fleet:
                pass
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
        assert [shard.state for shard in fleet.shards] == [ShardState.ENDED] * 2
        await until_gone(pids_of(fleet))


async def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    fleet = ShardedFleet(2, processes=2)
    entering = asyncio.create_task(fleet.__aenter__())
    await until(lambda: len(pids_of(fleet)) == 2)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not any(map(is_running, pids_of(fleet)))


async def test_a_process_that_ends_before_it_is_ready_is_said_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(FleetError, match=r"shard 0 \(server 0, process \d+\) ended, with code 1, before it was ready"):
        async with ShardedFleet(1, processes=1):
            pass
    monkeypatch.setattr("sys.executable", "/none/python")
    with pytest.raises(FleetError, match="shard 0: no process could be started: No such file or directory"):
        async with ShardedFleet(1, processes=1):
            pass


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own need not be."""
    with TemporaryDirectory(prefix="fleet-") as path:
        yield Path(path)


async def test_servers_of_every_process_listen_at_socket_files_of_one_folder(short_folder: Path) -> None:
    async with ShardedFleet(3, processes=2, unix_dir=short_folder) as fleet:
        assert [path.name for path in fleet.paths] == ["server-0.sock", "server-1.sock", "server-2.sock"]
        for path, url in zip(fleet.paths, fleet.urls, strict=True):
            connector = aiohttp.UnixConnector(str(path))
            async with aiohttp.ClientSession(connector=connector) as session, session.get(f"{url}/health") as response:
                assert response.status == 200
        await fleet.ledger.wait_for(opened=3, open_now=0)
        assert [server["url"] for server in await fleet.servers()] == ["http://localhost"] * 3
        with pytest.raises(FleetError, match=r"servers have no port: they listen at .*server-0\.sock and so on"):
            _ = fleet.endpoints
    assert os.listdir(short_folder) == []


async def test_a_killed_shard_listens_at_its_socket_files_again(short_folder: Path) -> None:
    lines = Lines()
    async with ShardedFleet(2, processes=2, unix_dir=short_folder, restart_shards=True, report=lines) as fleet:
        os.kill(pids_of(fleet)[1], signal.SIGKILL)
        assert "was killed by SIGKILL" in await lines.next()
        assert "serves again" in await lines.next()
        connector = aiohttp.UnixConnector(str(fleet.paths[1]))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://x/health") as response:
            assert response.status == 200


def test_code_without_a_loop_uses_it_too() -> None:
    with ShardedFleet(2, processes=2) as fleet:
        with urllib.request.urlopen(f"{fleet.urls[1]}/health", timeout=10) as response:
            assert response.status == 200
        fleet.run(fleet.ledger.wait_for(requests=1, open_now=0))
        assert fleet.run(fleet.ledger.snapshot()).opened == 1
        pids = pids_of(fleet)
    assert not any(map(is_running, pids))


async def test_it_is_entered_once_and_only_where_it_can_be() -> None:
    fleet = ShardedFleet(1, processes=1)
    with pytest.raises(FleetError, match="an event loop is running here"), fleet:
        pass
    with pytest.raises(FleetError, match="endpoints: expected a fleet that has been entered"):
        _ = fleet.urls
    with pytest.raises(FleetError, match="control_url: expected a fleet that was given a control_port"):
        _ = fleet.control_url
    with pytest.raises(FleetError, match="only a fleet entered with a plain `with` has a loop"):
        fleet.run(fleet.ledger.snapshot())
    async with fleet:
        with pytest.raises(FleetError, match="a fleet is entered once"):
            await fleet.__aenter__()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"processes": 0}, "processes: expected 1 to 2 for 2 servers, got 0"),
        ({"processes": 3}, "processes: expected 1 to 2 for 2 servers, got 3"),
        ({"host": 5}, "host: expected an address or a name as text, got 5"),
        ({"base_port": 65535}, "base_port: expected None or 1 to 65534 for 2 servers, got 65535"),
        ({"keepalive_timeout": -1}, "keepalive_timeout: expected seconds of at least 0, or None for never, got -1"),
        ({"tls": "yes"}, "tls: expected True, False, or None for the profile's, got 'yes'"),
        ({"first_index": -1}, "first_index: expected a whole number of at least 0, got -1"),
        ({"unix_dir": "/s", "base_port": 8000}, "base_port: expected None beside unix_dir, got 8000"),
        ({"ending": "slow"}, "unknown ending 'slow'; expected one of "),
        (
            {"profile": Profile.parse({"faults": [{"fault": "reset", "times": 1}]})},
            "times: expected none for servers of",
        ),
    ],
)
def test_an_argument_that_cannot_be_is_named_with_what_was_expected(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        ShardedFleet(**{"size": 2, **options})
    assert str(caught.value).startswith(sentence)


def test_servers_are_spread_as_neighbours_and_evenly() -> None:
    assert spread_servers(10, 3) == [range(3), range(3, 6), range(6, 10)]
    assert spread_servers(2, 2) == [range(1), range(1, 2)]


def test_a_secret_is_in_no_repr() -> None:
    profile = Profile(api_key="s3cret")
    fleet = ShardedFleet(2, profile=profile, control_port=0, control_token="s3cret")
    assert "s3cret" not in f"{fleet!r} {fleet.shards!r}"
    assert repr(Shard(0, range(4))) == "<Shard 0 down, servers 0 to 3, process None>"
