from __future__ import annotations

import asyncio

import aiohttp
import pytest
from fake_pipe import FakePipe, session_on
from hypothesis import given
from hypothesis import strategies as st
from raw_http import Peer
from raw_websocket import close, closed_with, masked, websocket
from talking import Talker, echoing, granting
from virtual_clock import Clock, on_clock

from fleetsim import Fleet, FleetError, WebSocketClosedError, WebSocketEnd, WebSocketRecord
from fleetsim.wire.websocket_settings import DEFAULT_WEBSOCKETS, WebSocketSettings


async def last_websocket(fleet: Fleet) -> WebSocketRecord:
    """The journal's last websocket, when no connection is open any more."""
    await fleet.ledger.wait_for(open_now=0, websockets_open=0)
    return fleet.ledger.websocket_records()[-1]


def ended(record: WebSocketRecord) -> tuple[str | None, str | None, int | None]:
    return record.ended_by, record.ended_how, record.close_code


async def test_text_comes_back_as_text_and_binary_as_binary() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(masked(1, "hé".encode()) + masked(2, b"\x00\x01"))
        assert await peer.until(b"\x82\x02\x00\x01") == b"\x81\x03h\xc3\xa9\x82\x02\x00\x01"
        await peer.send(masked(1, b"a", last=False) + masked(0, b"b"))
        assert await peer.until(b"ab") == b"\x81\x02ab"


async def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(masked(10, b"unasked") + masked(9, b"here?"))
        assert await peer.until(b"here?") == b"\x8a\x05here?"


@pytest.mark.parametrize(
    ("said", "answered", "code"),
    [
        (close(1000), closed_with(1000), 1000),
        (close(3001, "bye"), closed_with(3001, "bye"), 3001),
        (masked(8), b"\x88\x00", 1005),
    ],
)
async def test_a_clients_close_is_answered_with_the_same_and_a_fin(said: bytes, answered: bytes, code: int) -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(said)
        assert await peer.to_the_end() == answered
        assert ended(await last_websocket(fleet)) == ("client", "close", code)
        assert fleet.ledger.connection_records()[0].ended_by == "server"


async def test_the_iteration_ends_when_the_client_closes_and_nothing_can_be_sent() -> None:
    refused = asyncio.get_running_loop().create_future()

    async def talk(end: WebSocketEnd) -> None:
        said = [message async for message in end]
        try:
            await end.send("more")
        except WebSocketClosedError as error:
            refused.set_result((said, error))

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port, "/talk") as peer:
        await peer.send(masked(1, b"a") + masked(2, b"b") + close(1000))
        assert await peer.to_the_end() == closed_with(1000)
        said, error = await refused
        assert said == ["a", b"b"]
        assert isinstance(error, FleetError)
        assert str(error) == "websocket /talk: closed, nothing can be sent"


async def test_a_talk_that_speaks_on_behind_a_close_ends_quietly() -> None:
    async def talk(end: WebSocketEnd) -> None:
        async for _ in end:
            pass
        await end.send("more")

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(close(1000))
        assert await peer.to_the_end() == closed_with(1000)
        assert ended(await last_websocket(fleet)) == ("client", "close", 1000)


async def test_a_talk_may_close_and_the_fin_waits_for_the_clients_answer() -> None:
    async def talk(end: WebSocketEnd) -> None:
        await end.close(4000, "bye")
        await end.close(4001)

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port) as peer:
        assert await peer.until(b"bye") == closed_with(4000, "bye")
        await peer.send(masked(1, b"ignored") + masked(9, b"p"))
        assert await peer.until(b"p") == b"\x8a\x01p"
        assert fleet.ledger.websockets_open == 1
        await peer.send(close(4000))
        assert await peer.to_the_end() == b""
        record = await last_websocket(fleet)
        assert ended(record) == ("server", "close", 4000)
        assert record.messages_in == 0


async def test_nothing_can_be_sent_behind_a_close_of_ones_own() -> None:
    async def talk(end: WebSocketEnd) -> None:
        await end.close(4000)
        await end.send("more")

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port) as peer:
        assert await peer.until(closed_with(4000)) == closed_with(4000)
        await peer.send(close(4000))
        assert await peer.to_the_end() == b""
        assert (await last_websocket(fleet)).messages_out == 0


async def test_a_talk_that_just_ends_leaves_no_closing_handshake() -> None:
    async def talk(end: WebSocketEnd) -> None:
        await end.send("hi")

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port) as peer:
        assert await peer.to_the_end() == b"\x81\x02hi"
        assert ended(await last_websocket(fleet)) == ("server", "fin", None)


async def test_a_talk_that_fails_leaves_no_closing_handshake_either(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(end: WebSocketEnd) -> None:
        raise RuntimeError("no")

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port, "/talk") as peer:
        assert await peer.to_the_end() == b""
        assert ended(await last_websocket(fleet)) == ("server", "fin", None)
    assert caplog.messages == ["websocket /talk: the talk failed"]


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (b"\x81\x02hi", closed_with(1002, "incorrect masking")),
        (masked(1, b"\xff"), closed_with(1007)),
        (masked(8, b"x"), closed_with(1002, "close frame too short")),
        (
            masked(1, b"")[:1] + b"\xff" + (2**24 + 1).to_bytes(8),
            closed_with(1009, "frame with 16777217 bytes exceeds limit of 16777216 bytes"),
        ),
    ],
)
async def test_a_mistake_is_answered_with_its_code_and_a_fin(said: bytes, answered: bytes) -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(said)
        assert await peer.to_the_end() == answered
        assert (await last_websocket(fleet)).ended_by == "server"


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_goes_cancels_the_talk(how: str) -> None:
    talker = Talker()
    async with Fleet(1, answer=granting(talker)) as fleet, websocket(fleet[0].port) as peer:
        await talker.begun.wait()
        peer.close() if how == "fin" else peer.reset()
        await talker.cancelled.wait()
        assert ended(await last_websocket(fleet)) == ("client", how, None)


async def test_a_server_that_closes_cancels_the_talk() -> None:
    talker = Talker()
    async with Fleet(1, answer=granting(talker)) as fleet, websocket(fleet[0].port):
        await talker.begun.wait()
        await fleet[0].close()
        assert talker.cancelled.is_set()
        assert ended(await last_websocket(fleet)) == ("server", "fin", None)


async def test_a_server_that_drains_says_1012_and_closes_at_once() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await fleet[0].drain()
        assert await peer.to_the_end() == closed_with(1012)
        assert ended(await last_websocket(fleet)) == ("server", "close", 1012)


async def test_nothing_more_is_read_while_a_message_waits() -> None:
    """A client that sends more than is taken is held back by the kernel, not by the server's memory."""
    pipe = FakePipe()
    session = session_on(pipe)
    session.feed_data(masked(1, b"a"))
    assert pipe.stopped
    session.feed_data(masked(1, b"b"))
    assert [await anext(session), await anext(session)] == ["a", "b"]
    assert pipe.stopped
    third = asyncio.ensure_future(anext(session))
    await asyncio.sleep(0)
    assert not pipe.stopped
    session.feed_data(masked(1, b"c"))
    assert not pipe.stopped
    assert await third == "c"


def test_a_close_of_the_servers_reads_on_for_the_clients_answer() -> None:
    async def talk(end: WebSocketEnd) -> None:
        await end.close(1000)

    async def scenario(loop: Clock) -> None:
        pipe = FakePipe()
        session = session_on(pipe)
        session.feed_data(masked(1, b"a"))
        assert pipe.stopped
        loop.call_later(1.0, session.feed_data, close(1000))
        await session.run(talk)
        assert not pipe.stopped

    on_clock(scenario)


async def test_a_cancelled_wait_for_a_message_loses_none() -> None:
    session = session_on(FakePipe())
    waiting = asyncio.ensure_future(anext(session))
    await asyncio.sleep(0)
    session.feed_data(masked(1, b"a"))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await anext(session) == "a"


async def test_a_slow_reader_holds_the_sender_back() -> None:
    sent = asyncio.Event()

    async def talk(end: WebSocketEnd) -> None:
        for _ in range(400):
            await end.send(bytes(1 << 16))
        sent.set()

    async with Fleet(1, answer=granting(talk)) as fleet, websocket(fleet[0].port) as peer:
        await fleet.ledger.wait_for(messages_out=1)
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not sent.is_set()
        assert len(await peer.to_the_end()) == 400 * ((1 << 16) + 10)
        assert sent.is_set()


@pytest.mark.parametrize("compress", [0, 9, 15])
async def test_aiohttps_client_is_understood(compress: int) -> None:
    async with Fleet(1) as fleet, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{fleet[0].url}/echo", compress=compress) as ws:
            for message in ("", "text" * 50, "é"):
                await ws.send_str(message)
                assert await ws.receive_str() == message
            for data in (b"", bytes(70_000)):
                await ws.send_bytes(data)
                assert await ws.receive_bytes() == data
            assert bool(ws.compress) == bool(compress)
        assert ws.close_code == 1000
        record = await last_websocket(fleet)
        assert ended(record) == ("client", "close", 1000)
        assert (record.messages_in, record.messages_out) == (5, 5)


async def test_the_figures_count_websockets_and_messages() -> None:
    async with Fleet(2, answer=granting(echoing)) as fleet:
        async with websocket(fleet[0].port) as first, websocket(fleet[1].port) as second:
            for peer in (first, second, second):
                await peer.send(masked(1, b"hi"))
                await peer.until(b"hi")
            whole = fleet.ledger.snapshot()
            assert (whole.websockets, whole.websockets_open, whole.peak_websockets) == (2, 2, 2)
            assert (whole.messages_in, whole.messages_out) == (3, 3)
            assert (fleet[1].ledger.websockets_open, fleet[1].ledger.messages_in) == (1, 2)
        await fleet.ledger.wait_for(websockets_open=0, websockets=2)
        assert fleet.ledger.peak_websockets == 2
        assert [record.number for record in fleet.ledger.websocket_records()] == [1, 2]


async def test_a_fleet_is_renewed_under_open_websockets() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port) as peer:
        await fleet.renew()
        assert await peer.to_the_end() == b""
        assert (fleet.ledger.websockets, fleet.ledger.websockets_open, fleet.ledger.journal()) == (0, 0, ())


async def test_a_websocket_is_served_over_tls() -> None:
    async with Fleet(1, tls=True) as fleet, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{fleet[0].url}/echo", ssl=fleet.ssl_context()) as ws:
            await ws.send_str("hi")
            assert await ws.receive_str(timeout=10) == "hi"
        assert ended(await last_websocket(fleet)) == ("client", "close", 1000)


async def test_a_message_under_way_as_the_connection_is_lost_ends_the_talk_quietly() -> None:
    """aiohttp's own error would be nobody's: `talk` may send from a task of its own."""

    class Lost(FakePipe):
        async def drain(self) -> None:
            raise aiohttp.ClientConnectionError("Connection lost")

    with pytest.raises(WebSocketClosedError, match=r"^websocket /echo: lost as a message was sent$"):
        await session_on(Lost()).send("hi")


@given(data=st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_of_a_clients_break_a_session(data: list[bytes]) -> None:
    async def scenario(loop: Clock) -> None:
        pipe = FakePipe()
        session = session_on(pipe)
        for number, each in enumerate(data):
            loop.call_later(number, session.feed_data, each)
        loop.call_later(len(data), session.feed_data, close(1000))
        await session.run(echoing)
        assert pipe.ended == ("server", "fin")

    on_clock(scenario)


async def test_a_peer_is_still_served_plain_requests_beside_a_websocket() -> None:
    async with Fleet(1) as fleet, websocket(fleet[0].port), Peer(fleet[0].port) as other:
        await other.send(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await other.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_end_without_a_close_frame_stays_one_whatever_comes_behind() -> None:
    """The connection is lost a turn of the loop later, and timers and bytes may come in between."""
    pipe = FakePipe()
    session = session_on(pipe)
    session.drop_fin()
    session.feed_data(masked(1, b"a") + close(1000))
    session.begin_close(1001)
    session.fail(1011)
    with pytest.raises(WebSocketClosedError):
        await session.send("a")
    assert pipe.timeline == [(0.0, b"")]
    assert pipe.ended == ("server", "fin")


def timed(ways: WebSocketSettings, *said: tuple[float, bytes]) -> list[tuple[float, bytes]]:
    """What a server that echoes writes, and when, in seconds from the handshake, to a client that says this and then
    no more. An empty write is the FIN."""

    async def scenario(loop: Clock) -> list[tuple[float, bytes]]:
        start = loop.time()
        pipe = FakePipe(lambda: loop.time() - start)
        session = session_on(pipe, ways)
        for when, data in said:
            loop.call_at(start + when, session.feed_data, data)
        await session.run(echoing)
        return pipe.timeline

    return [(round(when, 6), data) for when, data in on_clock(scenario)]


PING, TIMEOUT = b"\x89\x04", closed_with(1011, "keepalive ping timeout")


def test_by_default_the_server_pings_after_20_s_and_waits_20_s_for_the_pong() -> None:
    ping, close_, fin = timed(DEFAULT_WEBSOCKETS)
    assert (ping[0], ping[1][:2]) == (20.0, PING)
    assert (close_, fin) == ((40.0, TIMEOUT), (40.0, b""))


def test_a_pong_puts_the_next_ping_off() -> None:
    (_, first), *_ = timed(DEFAULT_WEBSOCKETS)
    _, (when, second), (ended, _), _ = timed(DEFAULT_WEBSOCKETS, (25.0, masked(10, first[2:])))
    assert (when, second[:2], ended) == (45.0, PING, 65.0)
    assert second != first


def test_an_unasked_pong_puts_nothing_off() -> None:
    assert timed(DEFAULT_WEBSOCKETS, (10.0, masked(10)), (25.0, masked(10)))[-1] == (40.0, b"")


def test_each_message_puts_the_idle_deadline_off_and_a_ping_does_not() -> None:
    ways = WebSocketSettings(idle_deadline=5.0, ping_interval=None)
    said = (3.0, masked(1, b"a")), (6.0, masked(1, b"b")), (7.0, masked(9))
    echoes = [(3.0, b"\x81\x01a"), (6.0, b"\x81\x01b"), (7.0, b"\x8a\x00")]
    assert timed(ways, *said) == [*echoes, (11.0, closed_with(1001)), (21.0, b"")]


def test_the_session_deadline_is_not_put_off() -> None:
    ways = WebSocketSettings(session_deadline=5.0, ping_interval=None, deadline_code=4000)
    heard = timed(ways, (4.0, masked(1, b"a")), (5.5, masked(1, b"b")), (6.0, close(4000)))
    assert heard == [(4.0, b"\x81\x01a"), (5.0, closed_with(4000)), (6.0, b"")]


def test_a_close_that_the_client_does_not_answer_ends_after_10_s() -> None:
    ways = WebSocketSettings(session_deadline=1.0)
    assert timed(ways) == [(1.0, closed_with(1001)), (11.0, b"")]
