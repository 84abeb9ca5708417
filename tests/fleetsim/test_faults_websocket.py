"""Each fault of websockets: the exact bytes, and what aiohttp's client makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
from raw_http import Peer, dated, get
from raw_websocket import ACCEPT, HANDSHAKE, close, closed_with, masked, upgrade, websocket

from fleetsim import Fault, Fleet, FleetError, Profile, WebSocketRecord, parse_fault
from fleetsim.faults.catalogue import Stage, fault_types
from fleetsim.wire.handshake import accept_key

Test = TypeVar("Test", bound=Callable[..., object])

OF_WEBSOCKETS = [kind for kind in fault_types() if kind.stage is Stage.WEBSOCKET]


@asynccontextmanager
async def struck(fault: str) -> AsyncIterator[tuple[Fleet, Peer]]:
    """A fleet of one, and a websocket of a raw client's that asked for the fault and has been granted."""
    async with Fleet(1) as fleet, websocket(fleet[0].port, "/echo", f"x-fleet-fault: {fault}") as peer:
        yield fleet, peer


@asynccontextmanager
async def aiohttps(
    fault: str, *, heartbeat: float | None = None, ws_close: float = 10.0, compress: int = 0
) -> AsyncIterator[tuple[Fleet, aiohttp.ClientWebSocketResponse]]:
    """The same of aiohttp's."""
    timeout, headers = aiohttp.ClientWSTimeout(ws_close=ws_close), {"X-Fleet-Fault": fault}
    async with (
        Fleet(1) as fleet,
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{fleet[0].url}/echo", headers=headers, heartbeat=heartbeat, timeout=timeout, compress=compress
        ) as ws,
    ):
        yield fleet, ws


async def turns() -> None:
    """Let whatever is on its way arrive: all sockets are this loop's."""
    for _ in range(100):
        await asyncio.sleep(0)


async def record_of(fleet: Fleet) -> WebSocketRecord:
    """The one websocket's record when it is over."""
    await fleet.ledger.wait_for(open_now=0, websockets_open=0)
    (record,) = fleet.ledger.websocket_records()
    return record


def ended(record: WebSocketRecord) -> tuple[str | None, str | None, int | None]:
    return record.ended_by, record.ended_how, record.close_code


def of_old_aiohttp_leaks(test: Test) -> Test:
    """aiohttp 3.12's client keeps a timer for its next ping when it has given a websocket up for want of a pong."""
    return pytest.mark.leaks(test) if aiohttp.__version__.startswith("3.12.") else test


async def refused(fault: str) -> bytes:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/echo", f"x-fleet-fault: {fault}"))
        response = dated((await peer.to_the_end()).replace(b"\r\nDate: ", b"\r\ndate: "))
        (request,) = fleet.ledger.request_records()
        assert request.faults == ("refuse_upgrade",)
        assert fleet.ledger.websockets == 0
        return response


async def test_an_upgrade_is_refused_with_403_as_where_there_is_no_route() -> None:
    assert await refused("refuse_upgrade") == (
        b"HTTP/1.1 403 Forbidden\r\ndate: <date>\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )


async def test_an_upgrade_is_refused_with_401_in_vllms_words() -> None:
    assert await refused("refuse_upgrade;status=401") == (
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 24\r\ncontent-type: application/json\r\ndate: <date>\r\n"
        b'Connection: close\r\n\r\n{"error":"Unauthorized"}'
    )


async def test_an_upgrade_is_refused_with_503_in_vllms_words() -> None:
    response = await refused("refuse_upgrade;status=503")
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: ")
    assert b'"type":"Service Unavailable","param":null,"code":503}}' in response


@pytest.mark.parametrize("status", [401, 403, 503, 599])
async def test_aiohttp_raises_for_an_upgrade_that_is_refused(status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with aiohttps(f"refuse_upgrade;status={status}"):
            pass
    assert caught.value.status == status


async def test_a_slow_upgrade_is_silence_and_then_the_handshake() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        started = asyncio.get_running_loop().time()
        await peer.send(upgrade("/echo", "x-fleet-fault: slow_upgrade;seconds=30ms"))
        assert dated(await peer.until(b"\r\n\r\n")) == HANDSHAKE
        assert asyncio.get_running_loop().time() - started >= 0.03


@pytest.mark.parametrize("timeout", [aiohttp.ClientTimeout(total=0.05), aiohttp.ClientTimeout(sock_read=0.05)])
async def test_aiohttps_timeouts_limit_a_slow_upgrade(timeout: aiohttp.ClientTimeout) -> None:
    async with Fleet(1) as fleet, aiohttp.ClientSession(timeout=timeout) as session:
        with fleet.fault("slow_upgrade", seconds="1h"), pytest.raises(TimeoutError):
            await session.ws_connect(f"{fleet[0].url}/echo")
        await fleet.ledger.wait_for(open_now=0, in_flight=0)
        assert fleet.ledger.request_records()[0].outcome == "client_gone"


async def test_a_wrong_accept_is_that_of_another_key() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/echo", "x-fleet-fault: wrong_accept"))
        wrong = HANDSHAKE.replace(ACCEPT.encode(), accept_key(ACCEPT).encode())
        assert dated(await peer.until(b"\r\n\r\n")) == wrong != HANDSHAKE
        await peer.send(masked(1, b"hi"))
        assert await peer.until(b"hi") == b"\x81\x02hi"


async def test_aiohttp_refuses_a_wrong_accept() -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError, match="Invalid challenge response") as caught:
        async with aiohttps("wrong_accept"):
            pass
    assert caught.value.status == 101


@pytest.mark.parametrize("fault", ["session_deadline", "idle_deadline"])
async def test_a_deadline_is_a_close_frame_with_its_code(fault: str) -> None:
    async with struck(f"{fault};seconds=10ms;code=4008") as (fleet, peer):
        assert await peer.until(closed_with(4008)) == closed_with(4008)
        await peer.send(close(4008))
        assert await peer.to_the_end() == b""
        assert ended(await record_of(fleet)) == ("server", "close", 4008)


@pytest.mark.parametrize("fault", ["session_deadline", "idle_deadline"])
async def test_aiohttp_is_told_of_a_deadline_when_it_receives_and_not_before(fault: str) -> None:
    """What a pool must know: idle, neither `closed` nor a send tells that the peer has closed."""
    async with aiohttps(f"{fault};seconds=0") as (fleet, ws):
        await turns()
        assert not ws.closed
        await ws.send_str("into the void")
        message = await ws.receive(timeout=10)
        assert (message.type, message.data, ws.closed, ws.close_code) == (aiohttp.WSMsgType.CLOSE, 1001, True, 1001)
    assert ended(await record_of(fleet)) == ("server", "close", 1001)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_the_connection_ends_at_a_message_without_a_closing_handshake(how: str, at: int) -> None:
    async with struck(f"websocket_{how};at={at};seconds=10ms") as (fleet, peer):
        for number in range(1, at + 1):
            await peer.send(masked(1, b"hi"))
            if number < at:
                assert await peer.until(b"hi") == b"\x81\x02hi"
        assert await (peer.to_the_end() if how == "fin" else peer.to_the_reset()) == b""
        record = await record_of(fleet)
        assert ended(record) == ("server", how, None)
        assert (record.messages_in, record.messages_out) == (at, max(at - 1, 0))
        assert fleet.ledger.connection_records()[0].ended_how == how


async def test_a_fin_may_come_right_behind_the_handshake() -> None:
    async with struck("websocket_fin;at=0") as (fleet, peer):
        assert await peer.to_the_end() == b""
        assert ended(await record_of(fleet)) == ("server", "fin", None)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_aiohttp_cannot_tell_a_fin_from_an_rst(how: str) -> None:
    async with aiohttps(f"websocket_{how};at=1") as (fleet, ws):
        await ws.send_str("hi")
        message = await ws.receive(timeout=10)
        assert (message.type, ws.closed, ws.close_code) == (aiohttp.WSMsgType.CLOSED, True, 1006)
        assert ended(await record_of(fleet)) == ("server", how, None)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_aiohttp_notices_an_end_in_idleness_when_it_sends(how: str) -> None:
    async with aiohttps(f"websocket_{how};at=0;seconds=1ms") as (fleet, ws):
        await record_of(fleet)
        await turns()
        assert not ws.closed
        with pytest.raises(aiohttp.ClientConnectionResetError):
            await ws.send_str("hi")


async def test_half_open_says_nothing_and_reads_nothing() -> None:
    async with struck("half_open;at=1") as (fleet, peer):
        await peer.send(masked(9, b"p"))
        assert await peer.until(b"p") == b"\x8a\x01p"
        await peer.send(masked(1, b"hi"))
        await fleet.ledger.wait_for(messages_in=1)
        await peer.send(masked(1, b"more") + masked(9, b"p") + close(1000))
        await turns()
        assert peer.is_quiet()
        assert (fleet.ledger.messages_in, fleet.ledger.messages_out, fleet.ledger.websockets_open) == (1, 0, 1)
        peer.close()
        await turns()
        assert fleet.ledger.websockets_open == 1
    assert ended(fleet.ledger.websocket_records()[0]) == ("server", "fin", None)


async def test_half_open_from_the_handshake_on_takes_no_message() -> None:
    async with struck("half_open") as (fleet, peer):
        await peer.send(masked(1, b"hi"))
        await turns()
        assert peer.is_quiet()
        assert fleet.ledger.messages_in == 0


async def test_half_open_sends_no_pings_and_keeps_no_deadline() -> None:
    async with Fleet(1) as fleet:
        with fleet.fault("half_open"), fleet.fault("session_deadline", seconds=0.0):
            async with websocket(fleet[0].port) as peer:
                await turns()
                assert peer.is_quiet()
                assert fleet.ledger.websockets_open == 1


@of_old_aiohttp_leaks
async def test_aiohttps_heartbeat_finds_a_half_open_websocket() -> None:
    async with aiohttps("half_open", heartbeat=0.05) as (_, ws):
        message = await ws.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.ERROR
        assert isinstance(message.data, aiohttp.ServerTimeoutError)
        assert (ws.closed, ws.close_code) == (True, 1006)


async def test_aiohttp_closes_a_half_open_websocket_when_its_own_patience_ends() -> None:
    async with aiohttps("half_open", ws_close=0.05) as (_, ws):
        assert await ws.close()
        assert ws.close_code == 1006


async def test_pings_go_unanswered_and_messages_do_not() -> None:
    async with struck("no_pong;after=1") as (_, peer):
        await peer.send(masked(9, b"a") + masked(9, b"b") + masked(1, b"hi") + masked(9, b"c"))
        assert await peer.until(b"hi") == b"\x8a\x01a\x81\x02hi"
        await peer.send(masked(1, b"ho"))
        assert await peer.until(b"ho") == b"\x81\x02ho"


@of_old_aiohttp_leaks
async def test_aiohttps_heartbeat_gives_a_websocket_up_that_answers_messages() -> None:
    async with aiohttps("no_pong", heartbeat=0.05) as (fleet, ws):
        await ws.send_str("hi")
        assert await ws.receive_str(timeout=10) == "hi"
        message = await ws.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.ERROR
        assert ended(await record_of(fleet)) == ("client", "fin", None)


async def test_a_message_comes_in_fragments() -> None:
    async with struck("fragmented_message;size=2") as (fleet, peer):
        await peer.send(masked(1, b"hello") + masked(2, b""))
        assert await peer.until(b"\x82\x00") == b"\x01\x02he\x00\x02ll\x80\x01o\x82\x00"
        assert fleet.ledger.messages_out == 2


@pytest.mark.parametrize("compress", [0, 15])
async def test_aiohttp_puts_fragments_together(compress: int) -> None:
    async with aiohttps("fragmented_message", compress=compress) as (_, ws):
        await ws.send_str("hello" * 10)
        assert await ws.receive_str(timeout=10) == "hello" * 10


@pytest.mark.parametrize(("opcode", "filler"), [(1, b" "), (2, b"\x00")])
async def test_the_first_message_is_filled_up(opcode: int, filler: bytes) -> None:
    async with struck("oversized_message;size=200") as (_, peer):
        await peer.send(masked(opcode, b"{}"))
        expected = bytes((0x80 | opcode, 126, 0, 200)) + b"{}" + filler * 198
        assert await peer.exactly(len(expected)) == expected
        await peer.send(masked(opcode, b"[]"))
        assert await peer.until(b"[]") == bytes((0x80 | opcode, 2)) + b"[]"


@pytest.mark.parametrize("compress", [0, 15])
async def test_aiohttp_closes_for_a_message_of_its_limit_or_more(compress: int) -> None:
    async with aiohttps("oversized_message", compress=compress) as (fleet, ws):
        await ws.send_str("hi")
        message = await ws.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.ERROR
        assert (ws.closed, ws.close_code) == (True, 1009)
        assert ended(await record_of(fleet)) == ("client", "close", 1009)


@pytest.mark.parametrize("kind", OF_WEBSOCKETS, ids=lambda kind: kind.name)
async def test_a_plain_request_is_never_struck(kind: type[Fault]) -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        with fleet.fault(kind.name) as rule:
            await peer.send(get("/version"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
            assert (rule.armed, rule.fired) == (0, 0)
            await peer.send(upgrade())
            await fleet.ledger.wait_for(requests=2)
            assert (rule.armed, rule.fired) == (1, 1)
        assert [request.faults for request in fleet.ledger.request_records()] == [(), (kind.name,)]


@pytest.mark.parametrize("kind", OF_WEBSOCKETS, ids=lambda kind: kind.name)
async def test_a_plain_request_cannot_ask_for_it(kind: type[Fault]) -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/version", f"x-fleet-fault: {kind.name}"))
        said = f"X-Fleet-Fault: fault {kind.name!r} strikes websockets: only a request for one can ask for it\n"
        assert (await peer.response()).endswith(b"\r\n\r\n" + said.encode())


async def test_a_scripts_step_for_websockets_waits_for_one() -> None:
    async with Fleet(1) as fleet:
        script = fleet[0].script("refuse_upgrade;status=503", "ok", "websocket_fin;at=0")
        statuses = []
        for request in (get("/version"), upgrade(), upgrade(), get("/version"), upgrade()):
            async with Peer(fleet[0].port) as peer:
                await peer.send(request)
                statuses.append(int((await peer.until(b"\r\n\r\n"))[9:12]))
        assert statuses == [200, 503, 101, 200, 101]
        script.assert_consumed()
        faults = [request.faults for request in fleet.ledger.request_records()]
        assert faults == [(), ("refuse_upgrade",), (), (), ("websocket_fin",)]


async def test_a_profile_names_them_as_everybody_does(tmp_path: Path) -> None:
    written = tmp_path / "fleet.yaml"
    written.write_text("faults:\n  - fault: session_deadline;seconds=10ms;code=4000\n    where: {route: /echo}\n")
    async with Fleet(1, profile=Profile.load(written)) as fleet, websocket(fleet[0].port) as peer:
        assert await peer.until(closed_with(4000)) == closed_with(4000)
        (rule,) = fleet.faults.rules()
        assert (rule.armed, rule.fired) == (1, 1)


async def test_several_faults_strike_one_websocket() -> None:
    faults = "slow_upgrade;seconds=1ms, fragmented_message, oversized_message;size=3, websocket_rst;at=2"
    async with struck(faults) as (_, peer):
        await peer.send(masked(1, b"a"))
        assert await peer.exactly(9) == b"\x01\x01a\x00\x01 \x80\x01 "
        await peer.send(masked(1, b"b"))
        assert await peer.to_the_reset() == b""


async def test_a_fault_of_websockets_is_no_ending() -> None:
    for kind in OF_WEBSOCKETS:
        with pytest.raises(FleetError, match="is a fault that writes no response"):
            Fleet(1, ending=kind.name)
        assert isinstance(parse_fault(kind.name), kind)


@pytest.mark.parametrize("fault", ["sigterm_abort", "sigterm_drain"])
async def test_sigterm_closes_websockets_with_1012(fault: str) -> None:
    """uvicorn says so and ends the connection at once."""
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        async with fleet.fault(fault):
            assert await peer.to_the_end() == closed_with(1012)
            assert ended(await record_of(fleet)) == ("server", "close", 1012)
        async with websocket(fleet[0].port) as anew:
            await anew.send(close(1000))
            assert await anew.to_the_end() == closed_with(1000)


async def test_a_kill_leaves_no_closing_handshake() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer, fleet.fault("kill"):
        assert await peer.to_the_end() == b""
        assert ended(await record_of(fleet)) == ("server", "fin", None)
