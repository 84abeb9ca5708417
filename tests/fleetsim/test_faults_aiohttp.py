"""What the catalogue says an aiohttp client sees of each fault, held against aiohttp on real sockets.

A sentence is held word by word, as that about httpx is in `test_faults_httpx`.
"""

from __future__ import annotations

import aiohttp
import pytest
from faulty import stream, unary
from sentences import is_said, with_durations

from fleetsim import Answer, Fault, Fleet
from fleetsim.faults.catalogue import fault_types
from fleetsim.faults.told import Ends

PROVEN = [kind for kind in fault_types() if kind.stage.strikes_http]
BOTH = pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])


async def asked(session: aiohttp.ClientSession, url: str) -> str:
    """What one POST comes to, as `is_said` calls it, or the name of the exception."""
    try:
        async with session.post(url) as response:
            body = await response.read()
    except aiohttp.ClientError as error:
        return type(error).__name__
    except TimeoutError:
        return "total"
    if response.status != 200:
        return "status"
    return "whole" if body.endswith((b"}", b"\n\n")) else "cut off"


@BOTH
@pytest.mark.parametrize("kind", PROVEN, ids=lambda kind: kind.name)
async def test_aiohttp_sees_of_a_fault_what_the_catalogue_says(kind: type[Fault], answer: Answer) -> None:
    waits = kind.told.ends in (Ends.NEVER, Ends.EITHER)
    timeout = aiohttp.ClientTimeout(total=1.0 if waits else 30.0, sock_read=0.2 if waits else 30.0)
    async with (
        Fleet(1, answer=lambda index: answer) as fleet,
        aiohttp.ClientSession(timeout=timeout) as session,
        fleet[0].fault(with_durations(kind, 0.001)),
    ):
        if kind.strikes_next:
            assert await asked(session, fleet[0].url) == "whole"
            await fleet.ledger.wait_for(in_flight=0)
        seen = await asked(session, fleet[0].url)
    assert is_said(seen, kind.aiohttp), f"{kind.name}: aiohttp sees {seen!r}, the catalogue says {kind.aiohttp!r}"
