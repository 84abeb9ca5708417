"""Each fault of reading the request: what a raw socket gets, and what aiohttp's client makes of it."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from answers import Witness
from faulty import aiohttp_sees, asking, last_lines, raw_bytes, stream, unary
from raw_http import Peer, post

from fleetsim import Answer, Fleet

LARGE = 64_000_000
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])


async def test_a_body_that_is_not_read_stays_with_the_client() -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, Peer(fleet[0].port) as peer:
        sending = asyncio.ensure_future(peer.send(post("/", "x-fleet-fault: stop_reading", body=b"x" * LARGE)))
        await fleet.ledger.wait_for(in_flight=1)
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done
        assert peer.is_quiet()
        sending.cancel()
        await asyncio.wait([sending])
        assert fleet.ledger.request_records()[0].faults == ("stop_reading",)


async def test_a_body_is_read_in_the_end_if_a_time_is_given() -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "x-fleet-fault: stop_reading;seconds=5ms", body=b"x" * 3_000_000))
        assert (await peer.response()).endswith(b'{"read":3000000}')


@BOTH
async def test_aiohttp_waits_for_a_server_that_has_stopped_reading(answer: Answer) -> None:
    with pytest.raises(aiohttp.SocketTimeoutError):
        await aiohttp_sees("stop_reading", answer, sock_read=0.05, data=b"xx")
    status, _ = await aiohttp_sees("stop_reading;seconds=5ms", answer, data=io.BytesIO(b"x" * 3_000_000))
    assert status == 200


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("after", [0, 3, 9])
async def test_the_connection_ends_when_so_much_has_been_read(how: str, after: int) -> None:
    """With the request announcing one byte more than is read, nothing is left that would turn the FIN into an RST."""
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        request = post("/", f"x-fleet-fault: close_reading;after={after};how={how}", body=b"x" * (after + 1))
        await peer.send(request[:-1])
        arrived = await (peer.to_the_end() if how == "fin" else peer.to_the_reset())
        assert arrived == b""
        connection, request_ = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how) == ("server", how)
        assert (request_.outcome, request_.status, request_.faults) == ("cut", None, ("close_reading",))
        assert witness.calls == []


async def test_a_shorter_body_ends_the_connection_when_it_is_read() -> None:
    assert await raw_bytes("close_reading;after=1000") == b""


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_aiohttp_is_disconnected_in_its_request(how: str) -> None:
    kind = aiohttp.ServerDisconnectedError if how == "fin" else aiohttp.ClientOSError
    with pytest.raises(kind):
        await aiohttp_sees(f"close_reading;after=2;how={how}", data=b"xx")


async def test_before_head_rst_is_an_rst_and_computes_no_answer() -> None:
    witness = Witness()
    async with asking("before_head_rst", witness) as (fleet, peer):
        assert await peer.to_the_reset() == b""
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how) == ("server", "rst")
        assert (request.outcome, request.status, request.ending) == ("cut", None, "before_head_rst")
        assert witness.calls == []


@BOTH
async def test_aiohttp_is_told_of_the_reset(answer: Answer) -> None:
    with pytest.raises(aiohttp.ClientOSError, match=r"104|reset"):
        await aiohttp_sees("before_head_rst", answer)
