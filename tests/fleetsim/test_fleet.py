from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.request
from pathlib import Path

import pytest
from answers import Witness, hello
from raw_http import Peer, get, post
from words import words_of

from fleetsim import Answer, ApiRequest, BindError, Fleet, FleetError, Profile, Reply, ServerState, Unary
from fleetsim.errors import RuleError
from fleetsim.wire.endings import Close, Eager


async def test_every_server_of_a_fleet_answers_on_a_port_of_its_own() -> None:
    async with Fleet(8) as fleet:
        assert len({endpoint.port for endpoint in fleet.endpoints}) == len(fleet) == 8
        for server in fleet:
            async with Peer(server.port) as peer:
                await peer.send(get("/health"))
                assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert fleet.ledger.requests == 8


async def test_an_answer_is_made_for_each_server() -> None:
    def make(index: int) -> Answer:
        async def answer(request: ApiRequest) -> Reply:
            return Unary(200, b"%d" % index)

        return answer

    async with Fleet(3, answer=make) as fleet:
        for index, server in enumerate(fleet):
            async with Peer(server.port) as peer:
                await peer.send(get("/"))
                assert (await peer.response()).endswith(b"\r\n\r\n%d" % index)


async def test_part_of_a_fleet_says_the_words_of_the_whole() -> None:
    async with Fleet(4, seed=7) as whole, Fleet(2, seed=7, first_index=2, tags=lambda index: {"n": str(index)}) as part:
        assert [(server.index, server.tags) for server in part] == [(2, {"n": "2"}), (3, {"n": "3"})]
        words = [await words_of(server.port) for server in whole]
        assert [await words_of(server.port) for server in part] == words[2:]
        assert len(set(words)) == 4
        assert [(server.ledger.requests, server.ledger.opened) for server in part] == [(1, 1), (1, 1)]
        assert [record.server for record in part.ledger.request_records()] == [2, 3]


async def test_a_rule_means_the_servers_of_a_part_by_their_numbers_in_the_whole() -> None:
    async with Fleet(2, first_index=2, answer=lambda index: hello) as part:
        with pytest.raises(RuleError, match="expected one of servers 2 to 3, got server=1"):
            part.fault("before_head", where={"server": 1})
        part.fault("before_head", where={"server": 3})
        async with Peer(part[1].port) as peer:
            await peer.send(post("/"))
            assert await peer.to_the_end() == b""


async def test_a_fleet_comes_back_on_the_ports_it_had() -> None:
    async with Fleet(3, answer=lambda index: hello) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
    async with Fleet(3, answer=lambda index: hello, ports=ports) as again:
        assert [endpoint.port for endpoint in again.endpoints] == ports


async def test_urls_are_given_in_every_form() -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet:
        ports = [endpoint.port for endpoint in fleet.endpoints]
        assert fleet.urls == tuple(f"http://127.0.0.1:{port}" for port in ports)
        assert fleet.base_urls == tuple(f"http://127.0.0.1:{port}/v1" for port in ports)
        assert [server.index for server in fleet] == [0, 1]
        assert fleet[-1] is fleet[1]


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for base in range(20_000, 30_000, count):
        try:
            sockets = [socket.create_server(("127.0.0.1", base + offset)) for offset in range(count)]
        except OSError:
            continue
        for each in sockets:
            each.close()
        return base
    raise AssertionError("no free ports")


async def test_ports_count_on_from_the_base_port() -> None:
    base = free_ports(3)
    async with Fleet(3, answer=lambda index: hello, base_port=base) as fleet:
        assert [endpoint.port for endpoint in fleet.endpoints] == [base, base + 1, base + 2]


async def test_a_port_in_use_leaves_no_server_listening() -> None:
    base = free_ports(3)
    with socket.create_server(("127.0.0.1", base + 2)):
        fleet = Fleet(3, answer=lambda index: hello, base_port=base)
        with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1 port {base + 2}: Address already in use"):
            await fleet.__aenter__()
    for port in range(base, base + 3):
        with pytest.raises(ConnectionRefusedError):
            await Peer(port).__aenter__()
    assert {server.state for server in fleet} == {ServerState.DEAD}


@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_fleet_that_is_cancelled_while_it_starts_leaves_no_server_listening(turns: int) -> None:
    """Whatever turn of the loop the cancellation strikes in. The leak gate looks for the sockets."""
    fleet = Fleet(50, answer=lambda index: hello)
    starting = asyncio.create_task(fleet.__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert {server.state for server in fleet} == {ServerState.DEAD}


async def test_leaving_closes_everything_and_ends_running_requests() -> None:
    witness = Witness()
    async with Fleet(2, answer=lambda index: witness) as fleet:
        peer = await Peer(fleet[0].port).__aenter__()
        await peer.send(post("/"))
        await witness.begun.wait()
    assert (fleet.ledger.open_now, fleet.ledger.in_flight) == (0, 0)
    assert witness.cancelled.is_set()
    assert await peer.to_the_end() == b""
    peer.close()


async def test_a_fleet_is_entered_once() -> None:
    fleet = Fleet(1, answer=lambda index: hello)
    async with fleet:
        pass
    with pytest.raises(FleetError, match="a fleet is entered once"):
        await fleet.__aenter__()


async def test_the_profile_decides_unless_the_fleet_is_told() -> None:
    profile = Profile(keepalive_timeout=7.0, ending="close")
    told = Fleet(1, profile=profile, answer=lambda index: hello, keepalive_timeout=None, ending="eager")
    assert (told[0].keepalive_timeout, told[0].ending) == (None, Eager())
    untold = Fleet(1, profile=profile, answer=lambda index: hello)
    assert (untold[0].keepalive_timeout, untold[0].ending) == (7.0, Close())


async def test_the_same_seed_gives_the_same_words() -> None:
    answers = []
    for seed in (1, 1, 2):
        async with Fleet(1, seed=seed) as fleet, Peer(fleet[0].port) as peer:
            body = b'{"prompt":"Tell me of the sea","max_tokens":20}'
            await peer.send(post("/v1/completions", "content-type: application/json", body=body))
            text = (await peer.response()).partition(b'"text":')[2].partition(b',"logprobs"')[0]
            assert text
            answers.append(text)
    assert answers[0] == answers[1] != answers[2]


async def test_load_tells_the_requests_in_flight_of_that_server() -> None:
    async with Fleet(2, profile=Profile(server_load_tracking=True)) as fleet, Peer(fleet[1].port) as peer:
        await peer.send(get("/load"))
        assert b'{"server_load":' in await peer.response()


async def test_the_hostfile_lists_every_server(tmp_path: Path) -> None:
    tags = [{"zone": "a"}, {"zone": "b", "gpu": "h100"}]
    async with Fleet(2, answer=lambda index: hello, tags=tags) as fleet:
        path = fleet.hostfile(tmp_path / "hosts")
        ports = [endpoint.port for endpoint in fleet.endpoints]
        assert path.read_text() == f"127.0.0.1\t{ports[0]}\tzone=a\n127.0.0.1\t{ports[1]}\tzone=b\tgpu=h100\n"


def test_before_it_is_entered_a_fleet_has_no_endpoints(tmp_path: Path) -> None:
    fleet = Fleet(1, answer=lambda index: hello)
    for ask in (lambda: fleet.endpoints, lambda: fleet.base_urls, lambda: fleet.hostfile(tmp_path / "hosts")):
        with pytest.raises(FleetError, match="has no port before it is started"):
            ask()


def test_a_plain_with_runs_the_fleet_in_a_thread() -> None:
    with Fleet(2, answer=lambda index: hello) as fleet:
        for url in fleet.urls:
            with urllib.request.urlopen(url) as response:
                assert response.read() == b'{"read":0}'
        fleet.ledger.wait_for_sync(requests=2, open_now=0)
        fleet.run(fleet[0].drain())
        assert fleet[0].state is ServerState.DEAD
    assert fleet[1].state is ServerState.DEAD


def test_a_plain_with_passes_on_what_went_wrong() -> None:
    base = free_ports(1)
    with socket.create_server(("127.0.0.1", base)), pytest.raises(BindError):
        Fleet(1, answer=lambda index: hello, base_port=base).__enter__()


async def test_a_plain_with_in_a_running_loop_is_refused() -> None:
    fleet = Fleet(1, answer=lambda index: hello)
    with pytest.raises(FleetError, match="use `async with Fleet"):
        fleet.__enter__()
    async with fleet:
        assert fleet[0].state is ServerState.SERVING


async def test_a_renewed_fleet_is_as_it_was_when_it_was_entered() -> None:
    async with Fleet(2) as fleet, Peer(fleet[0].port) as left_open, Peer(fleet[1].port) as held:
        before = [(endpoint.port, server.ending) for endpoint, server in zip(fleet.endpoints, fleet, strict=True)]
        await left_open.send(get("/health"))
        await left_open.response()
        fleet.set_ending("reset")
        fleet[0].keepalive_timeout = None
        fleet[1].hold().__enter__()
        await held.send(get("/health"))
        await fleet.ledger.wait_for(in_flight=1)
        await fleet.renew()
        assert [
            (endpoint.port, server.ending) for endpoint, server in zip(fleet.endpoints, fleet, strict=True)
        ] == before
        assert ([server.keepalive_timeout for server in fleet], fleet[1].holds) == ([5.0] * len(fleet), [])
        assert (fleet.ledger.opened, fleet.ledger.journal(), fleet[1].ledger.requests) == (0, (), 0)
        async with Peer(fleet[1].port) as next_user:
            await next_user.send(get("/health"))
            assert (await next_user.response()).startswith(b"HTTP/1.1 200 OK")
        assert fleet.ledger.connection_records()[0].connection == 1


async def test_what_connected_just_before_a_renewal_is_not_counted_after_it() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with socket.create_connection(("127.0.0.1", fleet[0].port)):
            await fleet.renew()
            assert fleet.ledger.opened == 0
            await fleet[0].pause_accepting()
            with socket.create_connection(("127.0.0.1", fleet[0].port)):
                await fleet.renew()
                assert fleet.ledger.opened == 0


async def test_a_renewed_fleet_says_the_same_words_again() -> None:
    body = b'{"model":"sim","prompt":"hi","max_tokens":8}'
    answers = []
    async with Fleet(1, profile=Profile(seed=3)) as fleet:
        for _ in range(2):
            async with Peer(fleet[0].port) as peer:
                await peer.send(post("/v1/completions", "content-type: application/json", body=body))
                answers.append((await peer.response()).partition(b'"created"')[0].partition(b"\r\n\r\n")[2])
            await fleet.renew()
    assert answers[0] == answers[1] != b""


async def test_a_fleet_with_a_dead_server_cannot_be_renewed() -> None:
    async with Fleet(2, answer=lambda index: hello) as fleet:
        await fleet[1].drain()
        with pytest.raises(FleetError, match="server 1 is dead, not serving"):
            await fleet.renew()


async def test_a_fleet_can_be_started_in_a_thread_from_a_running_loop() -> None:
    fleet = Fleet(1, answer=lambda index: hello).start_in_thread()
    try:
        async with Peer(fleet[0].port) as peer:
            await peer.send(get("/"))
            assert (await peer.response()).endswith(b'{"read":0}')
    finally:
        fleet.__exit__(None, None, None)


async def test_run_is_for_fleets_with_a_thread() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        with pytest.raises(FleetError, match="entered with a plain `with`"):
            fleet.run(fleet[0].drain())


async def test_a_thousand_servers_come_up_and_go() -> None:
    async with Fleet(1000, answer=lambda index: hello) as fleet:
        assert len({endpoint.port for endpoint in fleet.endpoints}) == 1000


async def test_the_repr_shows_size_and_figures() -> None:
    assert repr(Fleet(3, answer=lambda index: hello)).startswith("<Fleet of 3: <Ledger of fleet: opened=0, ")


async def head_or_end(port: int, path: str = "/") -> bytes:
    """What one request to `port` brings: its status line, or FIN."""
    async with Peer(port) as peer:
        await peer.send(post(path))
        return (await peer.some()).partition(b"\r\n")[0] or b"FIN"


async def test_a_fault_of_the_fleet_strikes_the_servers_it_is_for_on_one_account() -> None:
    async with Fleet(3, answer=lambda index: hello, tags=lambda index: {"rack": "ab"[index % 2]}) as fleet:
        with fleet.fault("before_head", where={"tag": "rack=a"}, times=3) as rule:
            seen = [await head_or_end(server.port) for server in (*fleet, *fleet)]
        assert [each == b"FIN" for each in seen] == [True, False, True, True, False, False]
        assert (rule.armed, rule.fired) == (3, 3)
        assert await head_or_end(fleet[0].port) == b"HTTP/1.1 200 OK"


async def test_the_profile_arms_its_faults_and_a_renewal_arms_them_anew() -> None:
    profile = Profile.parse({"faults": [{"fault": "before_head", "times": 1, "where": {"server": 1}}]})
    async with Fleet(2, profile=profile, answer=lambda index: hello) as fleet:
        for _ in range(2):
            assert [await head_or_end(fleet[1].port) for _ in range(2)] == [b"FIN", b"HTTP/1.1 200 OK"]
            assert [rule.number for rule in fleet.faults.rules()] == [1]
            fleet.fault("reset")
            fleet[0].script("before_head")
            await fleet.renew()
            assert await head_or_end(fleet[0].port) == b"HTTP/1.1 200 OK"


def test_a_profile_with_a_fault_for_no_server_is_refused() -> None:
    profile = Profile.parse({"faults": [{"fault": "reset", "where": {"server": 2}}]})
    with pytest.raises(RuleError, match="where: expected one of servers 0 to 1, got server=2"):
        Fleet(2, profile=profile)


def test_faults_of_a_fleet_in_a_thread_are_set_from_another() -> None:
    with Fleet(2, answer=lambda index: hello) as fleet:
        with fleet[1].fault("before_head") as rule:
            with pytest.raises(http.client.RemoteDisconnected):
                urllib.request.urlopen(fleet[1].url, timeout=10)
            with urllib.request.urlopen(fleet[0].url, timeout=10) as spared:
                assert spared.status == 200
        with urllib.request.urlopen(fleet[1].url, timeout=10) as healed:
            assert healed.status == 200
        assert rule.fired == 1


async def test_the_script_of_a_profile_is_played_by_each_server_and_again_after_a_renewal() -> None:
    profile = Profile.parse({"faults": [{"script": "before_head, ok"}]})
    async with Fleet(2, answer=lambda index: hello, profile=profile) as fleet:
        for _ in range(2):
            for server in fleet:
                async with Peer(server.port) as peer:
                    await peer.send(post("/"))
                    assert await peer.to_the_end() == b""
            assert [script.left for script in fleet.faults.scripts()] == [{0: ["ok"], 1: ["ok"]}]
            await fleet.renew()
            assert fleet.ledger.requests == 0
