from __future__ import annotations

import pytest
from raw_websocket import close, closed_with, masked, websocket

from fleetsim import Fleet, Profile
from fleetsim.wire.websocket_settings import WebSocketSettings, is_sendable_code


def test_the_defaults_are_uvicorns() -> None:
    ways = WebSocketSettings()
    assert (ways.ping_interval, ways.ping_timeout, ways.max_size) == (20.0, 20.0, 16_777_216)
    assert (ways.session_deadline, ways.idle_deadline) == (None, None)
    assert Profile().websockets == ways


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_deadline", 0),
        ("session_deadline", float("inf")),
        ("idle_deadline", -1.0),
        ("idle_deadline", True),
        ("deadline_code", 1005),
        ("deadline_code", 5000),
        ("deadline_code", True),
        ("ping_interval", 0.0),
        ("ping_timeout", "1s"),
        ("max_size", 0),
        ("max_size", 1.5),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got {value!r}$"):
        WebSocketSettings(**{name: value})  # type: ignore[arg-type]  # the point


def test_codes_that_never_stand_in_a_frame_are_not_sendable() -> None:
    assert [code for code in range(1000, 1016) if not is_sendable_code(code)] == [1004, 1005, 1006, 1015]


async def ends(profile: Profile, *said: bytes) -> bytes:
    """What a client that says this, and then nothing more, hears until FIN."""
    async with Fleet(1, profile=profile) as fleet, websocket(fleet[0].port) as peer:
        for each in said:
            await peer.send(each)
        heard = await peer.until(closed_with(profile.ws_deadline_code))
        await peer.send(close(profile.ws_deadline_code))
        assert await peer.to_the_end() == b""
        await fleet.ledger.wait_for(open_now=0)
        (record,) = fleet.ledger.websocket_records()
        assert (record.ended_by, record.ended_how, record.close_code) == ("server", "close", profile.ws_deadline_code)
        assert record.ended_at is not None
        assert record.ended_at - record.opened_at >= 0.02
        return heard


async def test_a_session_ends_at_its_deadline_however_busy() -> None:
    heard = await ends(Profile(ws_session_deadline=0.02, ws_deadline_code=4001), masked(1, b"a"))
    assert heard == b"\x81\x01a" + closed_with(4001)


async def test_an_idle_session_ends_at_its_deadline() -> None:
    assert await ends(Profile(ws_idle_deadline=0.02)) == closed_with(1001)


async def test_the_server_pings_and_a_pong_puts_the_next_ping_off() -> None:
    profile = Profile(ws_ping_interval=0.01, ws_ping_timeout=10.0)
    async with Fleet(1, profile=profile) as fleet, websocket(fleet[0].port) as peer:
        seen = set()
        for _ in range(3):
            ping = await peer.until(b"\x89\x04") + await peer.exactly(4)
            assert ping[:2] == b"\x89\x04"
            seen.add(ping)
            await peer.send(masked(10, ping[2:]))
        assert len(seen) == 3


@pytest.mark.parametrize("answer", [b"", masked(10, b"else")], ids=["no pong", "another pong"])
async def test_a_pong_that_does_not_come_closes_with_1011(answer: bytes) -> None:
    """uvicorn sends the close frame and the FIN behind it, without waiting for an answer."""
    profile = Profile(ws_ping_interval=0.01, ws_ping_timeout=0.02)
    async with Fleet(1, profile=profile) as fleet, websocket(fleet[0].port) as peer:
        heard = await peer.until(b"\x89\x04") + await peer.exactly(4)
        await peer.send(answer)
        assert len(heard) == 6
        assert await peer.to_the_end() == closed_with(1011, "keepalive ping timeout")
        await fleet.ledger.wait_for(open_now=0)
        (record,) = fleet.ledger.websocket_records()
        assert (record.ended_by, record.ended_how, record.close_code) == ("server", "close", 1011)


async def test_without_a_limit_pings_go_on_unanswered() -> None:
    profile = Profile(ws_ping_interval=0.005, ws_ping_timeout=None)
    async with Fleet(1, profile=profile) as fleet, websocket(fleet[0].port) as peer:
        for _ in range(4):
            await peer.until(b"\x89\x04")


async def test_a_message_beyond_the_limit_closes_with_1009() -> None:
    async with Fleet(1, profile=Profile(ws_max_size=100)) as fleet, websocket(fleet[0].port) as peer:
        await peer.send(masked(1, b"x" * 100))
        assert await peer.until(b"x" * 100) == b"\x81\x64" + b"x" * 100
        await peer.send(masked(1, b"x" * 101))
        assert await peer.to_the_end() == closed_with(1009, "frame with 101 bytes exceeds limit of 100 bytes")
