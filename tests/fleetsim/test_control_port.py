from __future__ import annotations

import socket

import pytest
from answers import hello
from raw_http import Peer, get, post

from fleetsim import BindError, Fleet, FleetError
from fleetsim.control.port import ControlPort, check_control


async def test_a_control_port_is_not_in_the_ledger_and_heeds_no_fault_header() -> None:
    async with Fleet(1, answer=lambda index: hello, control_port=0) as fleet:
        async with Peer(int(fleet.control_url.rpartition(":")[2])) as peer:
            for number in (1, 2):
                body = b'"before_head"'
                await peer.send(
                    post("/-/faults", "content-type: application/json", "x-fleet-ending: reset", body=body).replace(
                        b"host: agent", b"host: localhost"
                    )
                )
                assert b'"number": %d' % number in await peer.response()
        assert (fleet.ledger.opened, fleet.ledger.requests) == (0, 0)
        assert len(fleet.faults.rules()) == 2


async def test_without_a_token_it_listens_on_loopback_alone() -> None:
    async with Fleet(1, answer=lambda index: hello, host="127.0.0.2", control_port=0) as fleet:
        assert fleet.control_url.startswith("http://127.0.0.1:")


async def test_with_a_token_it_listens_where_the_fleet_does() -> None:
    fleet = Fleet(1, answer=lambda index: hello, host="127.0.0.2", control_port=0, control_token="s3cret")
    async with fleet:
        assert fleet.control_url.startswith("http://127.0.0.2:")


async def test_a_port_that_is_taken_leaves_no_server_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fleet = Fleet(2, answer=lambda index: hello, control_port=taken.getsockname()[1])
        with pytest.raises(BindError, match=r"cannot listen on 127\.0\.0\.1 port"):
            await fleet.__aenter__()
        for server in fleet:
            with pytest.raises(ConnectionRefusedError):
                async with Peer(server.port):
                    pass


async def test_closing_ends_what_is_connected_and_may_be_repeated() -> None:
    port = ControlPort(hello, "127.0.0.1", 0)
    await port.close()
    await port.start()
    async with Peer(port.port) as peer:
        await peer.send(get("/"))
        await peer.response()
        await port.close()
        assert await peer.to_the_end() == b""
    await port.close()


async def test_a_fleet_without_a_control_port_has_no_url_for_one() -> None:
    for fleet in (Fleet(1, answer=lambda index: hello), Fleet(1, answer=lambda index: hello, control_port=0)):
        with pytest.raises(FleetError, match="control_url: expected a fleet that was given a control_port"):
            _ = fleet.control_url


@pytest.mark.parametrize(
    ("port", "token", "complaint"),
    [
        (-1, None, "control_port: expected None or 0 to 65535, got -1"),
        (65_536, None, "control_port: expected None or 0 to 65535, got 65536"),
        ("8000", None, "control_port: expected None or 0 to 65535, got '8000'"),
        (None, "s3cret", "control_token: expected None without a control_port"),
        (0, " ", "control_token: expected printable ASCII text"),
        (0, "pass\nword", r"control_token: expected printable ASCII text, got something else \(not shown\)"),
    ],
)
def test_ports_and_tokens_that_cannot_be_are_refused(port: object, token: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_control(port, token)
