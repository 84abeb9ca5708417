"""A fleet that speaks TLS, as a raw client of TLS sees it and as the ledger tells it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from answers import DONE, always, hello, streamed
from faulty import BODY, UNARY_HEAD
from raw_http import Peer, TlsPeer, dated, get, post

from fleetsim import Answer, ConnectionRecord, Fleet, Unary
from fleetsim.faults.catalogue import Description, Stage, describe

STREAM = b"9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@asynccontextmanager
async def secure(answer: Answer = hello) -> AsyncIterator[tuple[Fleet, TlsPeer]]:
    """A fleet of one that speaks TLS, and a connection to it before the handshake."""
    fleet = Fleet(1, answer=lambda index: answer, tls=True)
    async with fleet, TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
        yield fleet, peer


@asynccontextmanager
async def shaken(answer: Answer = hello) -> AsyncIterator[tuple[Fleet, TlsPeer]]:
    """The same after the handshake."""
    async with secure(answer) as (fleet, peer):
        await peer.shake_hands()
        yield fleet, peer


async def last_connection(fleet: Fleet) -> ConnectionRecord:
    await fleet.ledger.wait_for(open_now=0)
    return fleet.ledger.connection_records()[-1]


async def test_inside_tls_the_bytes_are_those_without_it() -> None:
    async with shaken() as (fleet, peer):
        assert fleet[0].url == f"https://127.0.0.1:{fleet[0].port}"
        for _ in range(2):
            await peer.send(post("/"))
            assert dated(await peer.response()) == UNARY_HEAD % len(BODY) + BODY
        assert (fleet.ledger.opened, fleet.ledger.reused) == (1, 1)


async def test_a_stream_goes_through_tls() -> None:
    async with shaken(streamed(b"data: 1\n\n", DONE)) as (_, peer):
        await peer.send(post("/"))
        assert (await peer.until(b"0\r\n\r\n")).partition(b"\r\n\r\n")[2] == STREAM


async def test_bodies_larger_than_any_record_or_buffer_arrive_whole() -> None:
    large = bytes(range(256)) * 20_000
    async with shaken(always(Unary(200, large))) as (fleet, peer):
        await asyncio.gather(peer.send(post("/", body=large)), fleet.ledger.wait_for(requests=1))
        assert (await peer.response()).partition(b"\r\n\r\n")[2] == large


async def test_a_connection_counts_from_its_accept_and_tells_its_version_from_the_handshake_on() -> None:
    async with secure() as (fleet, peer):
        await fleet.ledger.wait_for(open_now=1)
        assert fleet.ledger.connection_records()[0].tls is None
        await peer.shake_hands()
        await peer.send(post("/"))
        await peer.response()
        assert fleet.ledger.connection_records()[0].tls == peer.tls.version() == "TLSv1.3"


async def test_a_client_that_never_shakes_hands_is_ended_with_the_fleet() -> None:
    async with secure() as (fleet, peer):
        await fleet.ledger.wait_for(open_now=1)
        await fleet[0].close()
        assert await peer.after_goodbye() == b""
        record = await last_connection(fleet)
        assert (record.ended_by, record.tls, record.requests) == ("server", None, 0)


async def test_a_client_that_does_not_trust_the_fleet_leaves_a_line_and_nothing_else() -> None:
    fleet = Fleet(1, answer=lambda index: hello, tls=True)
    async with fleet, TlsPeer(fleet[0].port, ssl.create_default_context()) as peer:
        with pytest.raises(ssl.SSLCertVerificationError):
            await peer.shake_hands()
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how, record.tls, record.requests) == ("client", "fin", None, 0)


async def test_a_certificate_is_for_the_fleets_addresses_and_for_no_other_name() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True) as fleet:
        for name in ("localhost", "127.0.0.1", "::1"):
            async with TlsPeer(fleet[0].port, fleet.ssl_context(), name) as peer:
                await peer.shake_hands()
        async with TlsPeer(fleet[0].port, fleet.ssl_context(), "elsewhere.example") as peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await peer.shake_hands()


async def test_plain_http_on_a_tls_port_is_ended_by_the_server() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/"))
        assert b"HTTP" not in await peer.to_the_end()
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how, record.tls, record.requests) == ("server", "fin", None, 0)


async def test_a_record_that_cannot_be_read_ends_the_connection_with_an_alert() -> None:
    async with shaken() as (fleet, peer):
        await Peer.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            await peer.some()
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how, record.tls) == ("server", "fin", "TLSv1.3")


@pytest.mark.parametrize("ending", ["close", "truncated", "before_head"])
async def test_a_fin_is_a_close_notify_and_a_fin(ending: str) -> None:
    async with shaken() as (fleet, peer):
        await peer.send(post("/", f"x-fleet-fault: {ending}"))
        await peer.to_the_end()
        assert peer.goodbye
        assert await peer.after_goodbye() == b""
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how) == ("server", "fin")


@pytest.mark.parametrize(("fault", "bytes_of_the_body"), [("reset;after=5", 5), ("before_head_rst", 0)])
async def test_a_reset_is_one_of_the_socket_itself_and_says_no_goodbye(fault: str, bytes_of_the_body: int) -> None:
    async with shaken() as (fleet, peer):
        await peer.send(post("/", f"x-fleet-fault: {fault}"))
        assert (await peer.to_the_reset()).partition(b"\r\n\r\n")[2] == BODY[:bytes_of_the_body]
        assert not peer.goodbye
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how) == ("server", "rst")


async def test_a_half_close_says_goodbye_and_takes_what_still_comes() -> None:
    async with shaken() as (fleet, peer):
        await peer.send(post("/", "x-fleet-fault: half_close"))
        assert dated(await peer.to_the_end()) == UNARY_HEAD % len(BODY) + BODY
        assert peer.goodbye
        assert await peer.after_goodbye() == b""
        await peer.send(post("/"))
        assert fleet.ledger.open_now == 1
        peer.close()
        record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how, record.requests) == ("server", "fin", 1)


@pytest.mark.parametrize("politely", [True, False], ids=["close_notify", "fin alone"])
async def test_a_client_that_goes_ends_the_work_for_its_request(politely: bool) -> None:
    async with shaken() as (fleet, peer):
        with fleet.hold() as hold:
            await peer.send(post("/"))
            await hold.wait_for(in_flight=1)
            if politely:
                await peer.say_goodbye()
            else:
                peer.half_close()
            record = await last_connection(fleet)
        assert (record.ended_by, record.ended_how) == ("client", "fin")
        assert fleet.ledger.request_records()[0].outcome == "client_gone"


async def test_faults_of_connecting_strike_before_the_handshake() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True) as fleet:
        with fleet[0].fault("accept_rst"):
            async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    await peer.shake_hands()
            record = await last_connection(fleet)
            assert (record.faults, record.ended_how, record.tls) == (("accept_rst",), "rst", None)
        with fleet[0].fault("accept_fin"):
            async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
                with pytest.raises((ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)):
                    await peer.shake_hands()
            assert (await last_connection(fleet)).ended_how == "fin"


async def test_a_slow_accept_lets_the_handshake_wait() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True) as fleet:
        with fleet[0].fault("slow_accept", seconds=0.02):
            async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
                await peer.shake_hands()
                await peer.send(post("/"))
                assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
        (connection,), (request,) = fleet.ledger.connection_records(), fleet.ledger.request_records()
        assert request.arrived_at - connection.opened_at >= 0.02 - 0.001


async def test_an_idle_connection_is_closed_on_time() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True, keepalive_timeout=0.01) as fleet:
        async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
            await peer.shake_hands()
            await peer.send(post("/"))
            assert re.search(rb'\{"read":0\}$', await peer.to_the_end())
            assert peer.goodbye
        assert (await last_connection(fleet)).ended_by == "server"


async def test_accepting_may_be_paused_and_a_server_renewed() -> None:
    async with Fleet(1, answer=lambda index: hello, tls=True) as fleet:
        await fleet[0].pause_accepting()
        async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
            await fleet[0].resume_accepting()
            await peer.shake_hands()
            await fleet.renew()
            assert await peer.some() == b""
        async with TlsPeer(fleet[0].port, fleet.ssl_context()) as peer:
            await peer.shake_hands()
            await peer.send(post("/"))
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


OF_RESPONSES = (Stage.REQUEST, Stage.HEAD, Stage.BODY, Stage.STREAM, Stage.AFTER, Stage.STATUS)
LASTING = ("endless", "hang", "never", "stop_reading")


def quickly(fault: Description) -> str:
    """The fault's written form, with its durations made short."""
    return ";".join([fault.name, *(f"{each.name}=1ms" for each in fault.parameters if each.unit == "duration")])


ENDING = [quickly(fault) for fault in describe() if fault.stage in OF_RESPONSES and fault.name not in LASTING]


async def to_its_end(peer: Peer) -> tuple[bytes, str]:
    """All that comes on a connection, and how it ends."""
    data = b""
    try:
        while more := await peer.some():
            data += more
    except ConnectionResetError:
        return dated(data), "rst"
    return dated(data), "fin"


@pytest.mark.parametrize("answer", [hello, streamed(b"data: 1\n\n", DONE)], ids=["unary", "stream"])
@pytest.mark.parametrize("fault", ENDING)
async def test_a_fault_sends_the_same_bytes_inside_tls(fault: str, answer: Answer) -> None:
    asked = post("/", f"x-fleet-fault: {fault}", "connection: close")
    async with Fleet(1, answer=lambda index: answer) as plain, Peer(plain[0].port) as peer:
        await peer.send(asked)
        expected = await to_its_end(peer)
    async with shaken(answer) as (fleet, secure_peer):
        await secure_peer.send(asked)
        assert await to_its_end(secure_peer) == expected
        assert fleet.ledger.request_records()[0].faults == (fault.partition(";")[0],)
