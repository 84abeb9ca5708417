"""Whatever a fleet can do to an aiohttp client on real loopback sockets, it does in a simulation: fault by fault."""

from __future__ import annotations

import asyncio

import pytest
from differential_fleet import (
    GET,
    STREAM,
    UNARY,
    UPLOAD,
    Asked,
    FleetStage,
    assert_same,
    may_last,
    settle,
    striking,
    variants,
)

from fleetsim import Fault, Fleet, Profile, parse_fault
from fleetsim.faults.catalogue import Stage, fault_types
from fleetsim.faults.kinds import Standing

# A FIN may come before the request is sent or behind it; a head and a chunk may arrive together or apart; an RST may
# come before or behind what a client reads of the data that went before it.
RACES = {"accept_fin", "bad_chunk_size", "reset"}

OTHERWISE = [
    "close_reading;after=7",
    "close_reading;how=rst;after=7",
    "informational;times=3",
    "split;gap=20ms",
    "truncated;after_chunks=1",
    "reset;after_chunks=1",
    "hang;after=7",
    "stall;seconds=1ms;after=7",
    "second_response",
    "error_event;after=0",
    "engine_death;exits=none",
]


def asked_for(fault: Fault) -> list[Asked]:
    """What shows all that the faults of its stage do: aiohttp sends a GET once more, a POST never."""
    stage = fault.stage
    if stage is Stage.STATUS:
        return [UNARY]
    if stage in (Stage.CONNECT, Stage.REQUEST, Stage.HEAD):
        return [UNARY, GET]
    return [UNARY, STREAM] if stage in (Stage.BODY, Stage.STREAM) else [UNARY, STREAM, GET]


FAULTS = [fault for kind in fault_types() if kind.stage.strikes_http for fault in variants(kind)]
FAULTS += [parse_fault(written) for written in OTHERWISE]
ASKED = [pytest.param(fault, asked, id=f"{fault.written()}-{asked}") for fault in FAULTS for asked in asked_for(fault)]
STANDING = [fault for fault in FAULTS if isinstance(fault, Standing)]
UPLOADED = [fault for fault in FAULTS if fault.stage in (Stage.CONNECT, Stage.REQUEST)]


@pytest.mark.parametrize(("fault", "asked"), ASKED)
def test_a_fault_strikes_in_a_simulation_as_on_loopback(fault: Fault, asked: Asked) -> None:
    assert_same(striking(fault, asked), races=fault.name in RACES)


@pytest.mark.parametrize("fault", UPLOADED, ids=Fault.written)
def test_a_fault_strikes_a_large_upload_as_on_loopback(fault: Fault) -> None:
    """Which of its many writes the end meets is a matter of latency."""

    async def strike(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            async with stage.session() as session:
                async with stage.struck(fleet, fault):
                    await stage.ask(session, fleet, UPLOAD, gives_up=may_last(fault))
                await stage.ask(session, fleet, UPLOAD)
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(strike, races=fault.name in RACES, with_latency=False)


@pytest.mark.parametrize("fault", STANDING, ids=Fault.written)
def test_a_fault_strikes_a_stream_in_its_middle_as_on_loopback(fault: Fault) -> None:
    async def strike(stage: FleetStage) -> None:
        async with Fleet(1, profile=Profile(itl=3600.0), keepalive_timeout=60) as fleet:
            async with stage.session() as session:
                streaming = asyncio.create_task(stage.ask(session, fleet, STREAM, gives_up=True))
                await fleet.ledger.wait_for(in_flight=1)
                async with stage.struck(fleet, fault):
                    await streaming
                    await stage.ask(session, fleet, UNARY, gives_up=True)
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(strike)
