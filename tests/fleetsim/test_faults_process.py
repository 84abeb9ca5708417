"""Each fault that ends a server's process: what a raw socket gets, and what aiohttp's client makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from answers import Witness
from raw_agent import eventually
from raw_http import Peer, get, post

from fleetsim import ApiRequest, Fleet, Profile, Reply, ServerState, Unary
from fleetsim.book import Book
from fleetsim.faults.catalogue import Stage, fault_types
from fleetsim.faults.rules import Rule
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings

JSON = "content-type: application/json"
# The first token comes at once, the next in an hour.
HOURLY = Profile(itl=3600, output_tokens=3)
ABORT = b'"finish_reason":"abort"'
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
PROCESS = [kind.name for kind in fault_types() if kind.stage is Stage.PROCESS]
IN_THE_MIDDLE = [*PROCESS, "restart;how=sigterm_abort", "restart;down=1ms", "engine_death;exits=0ms"]


def completion(**words: Any) -> bytes:
    return post("/v1/completions", JSON, body=json.dumps({"prompt": "hi", **words}).encode())


async def streaming(peer: Peer) -> None:
    """A stream that has said its first token."""
    await peer.send(completion(stream=True))
    await peer.until(b"\n\n\r\n")
    assert peer.is_quiet()


async def is_refused(port: int) -> bool:
    try:
        async with Peer(port):
            return False
    except ConnectionRefusedError:
        return True


async def is_well(port: int) -> bool:
    async with Peer(port) as peer:
        await peer.send(get("/health"))
        return (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def in_state(fleet: Fleet, state: ServerState) -> None:
    await eventually(lambda: fleet[0].state is state)


# Killed.


async def test_a_kill_ends_a_stream_inside_its_chunks_and_an_idle_connection_with_fin() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer, Peer(fleet[0].port) as idle:
        await streaming(peer)
        await fleet.ledger.wait_for(opened=2)
        async with fleet[0].fault("kill") as rule:
            assert await peer.to_the_end() == b""
            assert await idle.to_the_end() == b""
            assert await is_refused(fleet[0].port)
            assert (fleet[0].state, rule.armed, rule.fired) == (ServerState.DOWN, 1, 1)
        assert await is_well(fleet[0].port)
        ended = fleet.ledger.connection_records()[:2]
        assert [(each.ended_by, each.ended_how, each.faults) for each in ended] == [("server", "fin", ("kill",))] * 2
        request = fleet.ledger.request_records()[0]
        assert (request.status, request.outcome, request.faults) == (200, "server_closed", ("kill",))


async def test_a_kill_resets_where_the_kernel_holds_bytes_that_nobody_has_read() -> None:
    async with Fleet(1) as fleet, fleet[0].fault("blackhole"), Peer(fleet[0].port) as peer:
        await fleet.ledger.wait_for(opened=1)
        await peer.send(get("/health"))
        async with fleet[0].fault("kill"):
            assert await peer.to_the_reset() == b""
        (connection,) = fleet.ledger.connection_records()
        assert (connection.ended_how, connection.faults) == ("rst", ("blackhole", "kill"))


async def test_aiohttp_sees_a_killed_server_as_a_broken_stream_and_then_as_no_server() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        response = await session.post("/v1/completions", json={"prompt": "hi", "stream": True})
        await response.content.readline()
        async with fleet[0].fault("kill"):
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.get("/health")
            assert isinstance(caught.value.os_error, ConnectionRefusedError)
        async with session.get("/health") as healed:
            assert healed.status == 200


@pytest.mark.parametrize("order", list(permutations(["refuse", "start_up", "kill"])))
async def test_the_port_opens_with_the_last_of_what_kept_it_shut(order: tuple[str, ...]) -> None:
    async with Fleet(1) as fleet:
        rules = {name: fleet[0].fault(name) for name in ("kill", "refuse", "start_up")}
        await fleet.faults.settled()
        for name in order:
            assert await is_refused(fleet[0].port)
            rules[name].remove()
            rules[name].remove()
            await rules[name].settled()
        assert await is_well(fleet[0].port)


async def test_a_killed_server_numbers_its_answers_from_the_first_again() -> None:
    async def answer_id(fleet: Fleet) -> str:
        async with Peer(fleet[0].port) as peer:
            await peer.send(completion())
            return str(json.loads((await peer.response()).partition(b"\r\n\r\n")[2])["id"])

    async with Fleet(1) as fleet:
        first, second = await answer_id(fleet), await answer_id(fleet)
        async with fleet[0].fault("kill"):
            pass
        assert [await answer_id(fleet) for _ in range(2)] == [first, second]
        assert fleet.ledger.requests == 4


@pytest.mark.parametrize("wire", ["tls", "unix"])
async def test_a_server_on_another_wire_is_killed_too_and_comes_back(wire: str, tmp_path: Path) -> None:
    kind: dict[str, Any] = {"tls": True} if wire == "tls" else {"unix_dir": tmp_path}
    async with Fleet(1, profile=HOURLY, **kind) as fleet:
        unix = wire == "unix"
        connector = aiohttp.UnixConnector(str(fleet[0].path)) if unix else aiohttp.TCPConnector(ssl=fleet.ssl_context())
        url = "http://agent" if unix else fleet[0].url
        async with aiohttp.ClientSession(url, connector=connector) as session:
            response = await session.post("/v1/completions", json={"prompt": "hi", "stream": True})
            await response.content.readline()
            async with fleet[0].fault("kill"):
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
                with pytest.raises(aiohttp.ClientConnectorError):
                    await session.get("/health")
            async with session.get("/health") as healed:
                assert healed.status == 200


async def test_a_kill_passes_over_work_that_does_not_stop_for_a_client_long_gone() -> None:
    """Its socket is closed: there is none to ask for unread bytes."""
    let_go, begun = asyncio.Event(), asyncio.Event()

    async def stubborn(request: ApiRequest) -> Reply:
        begun.set()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        return Unary(200, b"")

    async with Fleet(1, answer=lambda index: stubborn) as fleet:
        async with Peer(fleet[0].port) as peer:
            await peer.send(post("/"))
            await begun.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        async with fleet[0].fault("kill"):
            assert await is_refused(fleet[0].port)
            let_go.set()
        await fleet.ledger.wait_for(open_now=0)


# Starting up.


async def test_a_server_that_starts_up_is_refused_until_it_is_ready() -> None:
    profile = Profile.parse({"faults": ["start_up"]})
    async with Fleet(1, profile=profile) as fleet:
        assert (fleet[0].state, await is_refused(fleet[0].port)) == (ServerState.DOWN, True)
        fleet.faults.clear()
        await fleet.faults.settled()
        assert (fleet[0].state, await is_well(fleet[0].port)) == (ServerState.SERVING, True)


async def test_a_server_that_starts_up_has_not_listened_before() -> None:
    """A client that polls a port it knows must not be accepted and thrown out."""
    async with Fleet(1, profile=Profile.parse({"faults": ["start_up", "accept_paused"]})) as fleet:
        assert await is_refused(fleet[0].port)
        fleet.faults.clear()
        await fleet.faults.settled()
        assert await is_well(fleet[0].port)
    book = Book()
    book.add_part()
    listener = Listener(WireSettings(Witness()), book, 0)
    listener.refuse()
    port = await listener.listen("127.0.0.1", 0, 8)
    assert await is_refused(port)
    await listener.listen_again()
    assert not await is_refused(port)
    await listener.close()


async def test_a_server_is_ready_when_its_time_has_come_though_the_rule_stands() -> None:
    async with Fleet(1, profile=Profile.parse({"faults": ["start_up;seconds=10ms"]})) as fleet:
        await in_state(fleet, ServerState.SERVING)
        await fleet.faults.settled()
        assert await is_well(fleet[0].port)
        (rule,) = fleet.faults.rules()
        rule.remove()
        await rule.settled()
        assert await is_well(fleet[0].port)


async def test_aiohttp_cannot_connect_to_a_server_that_starts_up() -> None:
    async with Fleet(1) as fleet, aiohttp.ClientSession(fleet[0].url) as session, fleet[0].fault("start_up"):
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/health")


# SIGTERM.


async def test_sigterm_aborts_what_runs_then_ends_idle_connections_and_the_port() -> None:
    async with (
        Fleet(1, profile=HOURLY) as fleet,
        Peer(fleet[0].port) as stream,
        Peer(fleet[0].port) as unary,
        Peer(fleet[0].port) as idle,
    ):
        await streaming(stream)
        await unary.send(completion())
        await fleet.ledger.wait_for(opened=3, in_flight=2)
        async with fleet[0].fault("sigterm_abort") as rule:
            last = await stream.to_the_end()
            assert last.count(b"data: ") == 2
            assert last.count(ABORT) == 1
            assert last.endswith(END)
            answer = await unary.to_the_end()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"connection: close" not in answer
            assert ABORT in answer
            assert await idle.to_the_end() == b""
            await in_state(fleet, ServerState.DOWN)
            assert await is_refused(fleet[0].port)
            assert (rule.armed, rule.fired) == (1, 1)
        assert await is_well(fleet[0].port)
        ended = fleet.ledger.connection_records()[:3]
        assert {(each.ended_by, each.ended_how, each.faults) for each in ended} == {
            ("server", "fin", ("sigterm_abort",))
        }
        told = [(each.outcome, each.faults) for each in fleet.ledger.request_records()[:2]]
        assert told == [("complete", ("sigterm_abort",))] * 2


async def test_what_is_answered_only_after_the_port_is_shut_says_connection_close() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as held, Peer(fleet[0].port) as idle:
        with fleet.hold() as gate:
            await held.send(completion())
            await gate.wait_for(in_flight=1, opened=2)
            async with fleet[0].fault("sigterm_abort"):
                assert await idle.to_the_end() == b""
                assert await is_refused(fleet[0].port)
                assert (fleet[0].state, held.is_quiet()) == (ServerState.DRAINING, True)
                gate.release()
                answer = await held.to_the_end()
                assert b"\r\nconnection: close\r\n" in answer
                assert ABORT in answer
                await in_state(fleet, ServerState.DOWN)


async def test_a_drain_lets_what_runs_end_with_the_port_open_and_shuts_it_then() -> None:
    witness = Witness()
    async with (
        Fleet(1, answer=lambda index: witness) as fleet,
        Peer(fleet[0].port) as peer,
        Peer(fleet[0].port) as idle,
    ):
        await peer.send(post("/stream"))
        await witness.begun.wait()
        await fleet.ledger.wait_for(opened=2)
        async with fleet[0].fault("sigterm_drain"):
            async with Peer(fleet[0].port):
                await fleet.ledger.wait_for(opened=3)
            assert (fleet[0].state, idle.is_quiet()) == (ServerState.DRAINING, True)
            witness.let_go.set()
            assert (await peer.to_the_end()).endswith(END)
            assert await idle.to_the_end() == b""
            await in_state(fleet, ServerState.DOWN)
            assert await is_refused(fleet[0].port)


async def test_what_comes_during_a_drain_is_aborted_at_once_and_what_runs_when_time_is_up() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer, Peer(fleet[0].port) as late:
        await streaming(peer)
        async with fleet[0].fault("sigterm_drain", timeout=0.2):
            await late.send(completion(stream=True))
            aborted = await late.until(END)
            assert (aborted.count(ABORT), aborted.count(b"data: ")) == (1, 2)
            last = await peer.to_the_end()
            assert (last.count(ABORT), last.endswith(END)) == (1, True)
            assert await late.to_the_end() == b""
            await in_state(fleet, ServerState.DOWN)


@pytest.mark.parametrize("fault", ["sigterm_abort", "sigterm_drain;timeout=10ms"])
async def test_aiohttp_gets_a_whole_stream_from_a_server_told_to_end_and_then_no_server(fault: str) -> None:
    async with Fleet(1, profile=HOURLY) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        response = await session.post("/v1/completions", json={"prompt": "hi", "stream": True})
        await response.content.readline()
        async with fleet[0].fault(fault):
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
            await in_state(fleet, ServerState.DOWN)
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("/health")


async def test_a_process_that_has_not_gone_when_the_rule_is_over_is_killed() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await streaming(peer)
        async with fleet[0].fault("sigterm_drain"):
            assert fleet[0].state is ServerState.DRAINING
        assert await peer.to_the_end() == b""
        assert await is_well(fleet[0].port)


async def test_a_kill_does_not_wait_for_a_drain() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await streaming(peer)
        async with fleet[0].fault("sigterm_drain"):
            async with fleet[0].fault("kill"):
                assert await peer.to_the_end() == b""
                assert (fleet[0].state, await is_refused(fleet[0].port)) == (ServerState.DOWN, True)
            assert (fleet[0].state, await is_refused(fleet[0].port)) == (ServerState.DOWN, True)
        assert await is_well(fleet[0].port)


async def test_a_second_sigterm_changes_nothing_and_comes_off_alone() -> None:
    async with Fleet(1) as fleet, fleet[0].fault("sigterm_drain"):
        async with fleet[0].fault("sigterm_abort"):
            await in_state(fleet, ServerState.DOWN)
        assert await is_refused(fleet[0].port)


# Restarted.


@pytest.mark.parametrize("how", ["kill", "sigterm_abort", "sigterm_drain"])
async def test_a_server_that_restarts_serves_again_by_itself(how: str) -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as idle:
        await fleet.ledger.wait_for(opened=1)
        rule = fleet[0].fault("restart", how=how, down=0.02)
        assert await idle.to_the_end() == b""
        await in_state(fleet, ServerState.SERVING)
        await rule.settled()
        assert await is_well(fleet[0].port)
        rule.remove()
        await rule.settled()
        assert await is_well(fleet[0].port)
        assert (rule.armed, rule.fired) == (1, 1)


async def test_aiohttp_lives_through_a_restart() -> None:
    async with Fleet(1) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        async with session.get("/health") as before:
            assert before.status == 200
        async with fleet[0].fault("restart", down=0.02) as rule:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("/health")
            await in_state(fleet, ServerState.SERVING)
            await rule.settled()
            async with session.get("/health") as after:
                assert after.status == 200


async def test_what_holds_for_the_server_holds_for_the_process_that_begins_anew() -> None:
    async with Fleet(1) as fleet, fleet[0].fault("engine_death", exits="none"):
        async with fleet[0].fault("kill"):
            pass
        assert not await is_well(fleet[0].port)


# The server and the fleet around it.


@pytest.mark.parametrize("fault", PROCESS)
async def test_each_heals_when_its_time_is_over(fault: str) -> None:
    async with Fleet(1) as fleet:
        rule = fleet[0].fault(fault, for_="10ms")
        await eventually(lambda: fleet.faults.is_over(rule))
        rule.remove()
        await rule.settled()
        assert await is_well(fleet[0].port)
        async with Peer(fleet[0].port) as peer:
            await peer.send(completion())
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
async def test_a_fleet_may_be_left_in_the_middle_of_each(fault: str) -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await streaming(peer)
        fleet.fault(fault)
    assert fleet[0].state is ServerState.DEAD


@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
async def test_a_fleet_may_be_renewed_in_the_middle_of_each(fault: str) -> None:
    async with Fleet(2, profile=HOURLY) as fleet, Peer(fleet[1].port) as peer:
        await streaming(peer)
        rule = fleet.fault(fault)
        await rule.settled()
        await fleet.renew()
        await peer.to_the_end()
        assert [await is_well(server.port) for server in fleet] == [True, True]


@pytest.mark.parametrize("fault", PROCESS)
def test_each_can_be_written_wherever_rules_are(fault: str) -> None:
    rule = Rule.parse({"fault": fault, "for": "10s", "where": {"server": 3}})
    assert Rule.parse(rule.written()) == rule
    (written,) = Profile.parse({"faults": [fault]}).faults
    assert isinstance(written, Rule)
    assert written.is_standing


def test_from_a_thread_of_its_own_a_fleet_is_killed_when_the_call_returns() -> None:
    with Fleet(1) as fleet:
        with fleet[0].fault("kill"):
            assert fleet[0].state is ServerState.DOWN
        assert fleet[0].state.value == "serving"


async def test_who_drains_a_server_by_hand_ends_its_faults_where_they_are() -> None:
    async with Fleet(1) as fleet:
        rule = fleet[0].fault("engine_death", exits=0.01)
        await rule.settled()
        await fleet[0].drain()
        rule.remove()
        await rule.settled()
        assert fleet[0].state is ServerState.DEAD


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_begins_and_ends_in_whatever_order_the_server_is_well_when_nothing_holds(seed: int) -> None:
    chance = random.Random(seed)
    faults = [
        *IN_THE_MIDDLE,
        "restart;how=sigterm_drain;down=0ms",
        "sigterm_drain;timeout=1ms",
        "refuse",
        "accept_paused",
    ]
    async with Fleet(1, profile=HOURLY) as fleet:
        for _ in range(40):
            rules = fleet.faults.rules()
            if rules and chance.random() < 0.5:
                chance.choice(rules).remove()
            else:
                fleet[0].fault(chance.choice(faults))
            if chance.random() < 0.7:
                await fleet.faults.settled()
                if {rule.rule.fault.name for rule in fleet.faults.rules()} & {"refuse", "kill"}:
                    assert await is_refused(fleet[0].port)
            if chance.random() < 0.3:
                await disturb(fleet[0].port)
        fleet.faults.clear()
        await fleet.faults.settled()
        assert fleet[0].state is ServerState.SERVING
        assert await is_well(fleet[0].port)


async def disturb(port: int) -> None:
    """A client that asks for a stream and does not wait for it."""
    with contextlib.suppress(OSError):
        async with Peer(port) as peer:
            await peer.send(completion(stream=True))
            await asyncio.sleep(0)
