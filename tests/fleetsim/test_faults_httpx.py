"""What the catalogue says an httpx client sees of each fault, held against httpx on real sockets.

A sentence is held word by word: the exception that httpx raises must be named in it, and a whole, a cut off or an error
response must be called so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from faulty import BODY, stream, unary
from sentences import is_said, with_durations

from fleetsim import Answer, Fault, Fleet, Profile
from fleetsim.faults.catalogue import fault_types
from fleetsim.faults.told import Ends
from fleetsim.proofs.claim import settled

pytest.importorskip("httpx")
import httpx

PROVEN = [kind for kind in fault_types() if kind.stage.strikes_http]
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])
UNSOLICITED = b'{"unsolicited":true}'


def sentence_of(kind: type[Fault]) -> str:
    """The httpx sentence; where it says that it is the same, with aiohttp's before it."""
    return f"{kind.aiohttp} {kind.httpx}" if kind.httpx.startswith("The same") else kind.httpx


@asynccontextmanager
async def struck(
    fault: Fault | str, fleet: Fleet, *, read: float = 30.0, write: float = 30.0, times: int | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `fleet` while the fault strikes, with these limits in seconds."""
    timeout = httpx.Timeout(30.0, read=read, write=write)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificates, which take long to load
    async with (
        fleet,
        httpx.AsyncClient(timeout=timeout, trust_env=False, verify=tls) as client,
        fleet[0].fault(fault, times=times),
    ):
        yield client
        await settled(asyncio.all_tasks)  # httpx leaves the closing of its generators to the loop, one after the other


async def asked(client: httpx.AsyncClient, fleet: Fleet, *, patience: float = 30.0, data: bytes = b"") -> str:
    """What one POST comes to, as `is_said` calls it: "whole" and so on, or the name of the exception."""
    try:
        async with asyncio.timeout(patience):
            response = await client.post(fleet[0].url, content=data)
    except TimeoutError:
        return "for ever"
    except httpx.DecodingError as error:
        await settled(asyncio.all_tasks)  # it leaves the closing of its generators to the loop, one after the other
        return type(error).__name__
    except httpx.HTTPError as error:
        return type(error).__name__
    if response.status_code != 200:
        return "status"
    return "whole" if response.content.endswith((b"}", b"\n\n")) else "cut off"


def fleet_of(answer: Answer, *, keepalive_timeout: float = 5.0) -> Fleet:
    return Fleet(1, answer=lambda index: answer, keepalive_timeout=keepalive_timeout)


@BOTH
@pytest.mark.parametrize("kind", PROVEN, ids=lambda kind: kind.name)
async def test_httpx_sees_of_a_fault_what_the_catalogue_says(kind: type[Fault], answer: Answer) -> None:
    waits = kind.told.ends in (Ends.NEVER, Ends.EITHER)
    fault, fleet = with_durations(kind, 0.001), fleet_of(answer)
    async with struck(fault, fleet, read=0.2 if waits else 30.0) as client:
        if kind.strikes_next:
            assert await asked(client, fleet) == "whole"
            await fleet.ledger.wait_for(in_flight=0)
        seen = await asked(client, fleet, patience=1.0 if waits else 30.0)
    assert is_said(seen, sentence_of(kind)), (
        f"{kind.name}: httpx sees {seen!r}, the catalogue says {sentence_of(kind)!r}"
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in PROVEN if "ReadTimeout if" in kind.httpx], ids=lambda kind: kind.name
)
async def test_where_the_read_timeout_is_shorter_it_strikes(kind: type[Fault]) -> None:
    fleet = Fleet(1, profile=Profile(ttft=1.0))  # which the fault that makes latencies longer needs
    async with struck(with_durations(kind, 3600.0), fleet, read=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{fleet[0].url}/v1/completions", json={"prompt": "hello"})


@pytest.mark.parametrize("fault", ["length_too_long", "long_header;size=200000"])
async def test_what_else_a_sentence_says_of_the_same_request(fault: str) -> None:
    async with struck(fault, fleet := fleet_of(unary, keepalive_timeout=0.05)) as client:
        assert await asked(client, fleet) == "RemoteProtocolError"


async def test_a_large_body_cannot_be_sent_to_who_does_not_read() -> None:
    async with struck("stop_reading", fleet := fleet_of(unary), write=0.2) as client:
        assert await asked(client, fleet, data=b"x" * 30_000_000) == "WriteTimeout"


@BOTH
async def test_the_read_timeout_never_strikes_in_what_is_endless(answer: Answer) -> None:
    async with struck("endless;seconds=1ms", fleet := fleet_of(answer), read=0.5) as client:
        assert await asked(client, fleet, patience=1.0) == "for ever"


async def next_of(fault: str) -> tuple[Fleet, bytes | str]:
    """What the request after a struck one gets once the connection is quiet: a body, or the name of the exception."""
    async with struck(fault, fleet := fleet_of(unary), times=1) as client:
        await asked(client, fleet)
        await settled(fleet.ledger.snapshot)
        try:
            return fleet, (await client.post(fleet[0].url)).content
        except httpx.HTTPError as error:
            return fleet, type(error).__name__


@pytest.mark.parametrize("fault", ["idle_fin", "idle_rst;seconds=1ms", "half_close", "error_then_fin"])
async def test_an_idle_connection_that_has_become_readable_is_dropped(fault: str) -> None:
    fleet, seen = await next_of(fault)
    assert seen == BODY
    assert (fleet.ledger.opened, fleet.ledger.reused) == (2, 0)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("stale", "RemoteProtocolError"),
        ("stale;how=rst", "ReadError"),
        ("length_too_short", "RemoteProtocolError"),
        ("second_response", UNSOLICITED),
    ],
)
async def test_the_next_request_on_that_connection_pays_for_it(fault: str, seen: bytes | str) -> None:
    assert (await next_of(fault))[1] == seen
