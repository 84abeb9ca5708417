"""Whatever a fleet's websockets do to aiohttp's on real loopback sockets, they do in a simulation: fault by fault."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import zlib

import aiohttp
import pytest
from differential_fleet import FleetScenario, FleetStage, assert_same, causes, settle, undated, variants

from fleetsim import Fault, Fleet, Profile, parse_fault
from fleetsim.api.realtime import AUDIO_BYTES_PER_TOKEN
from fleetsim.faults.catalogue import Stage, fault_types

# Of an RST and what was sent before it either may be read first.
RACES = {"websocket_rst"}

OTHERWISE = [
    *(f"refuse_upgrade;status={status}" for status in (401, 503)),
    *(f"{name};at={number};seconds=1ms" for name in ("websocket_fin", "websocket_rst") for number in (0, 2)),
    "half_open;at=2",
    "no_pong;after=1",
    "oversized_message;size=100000",
    "session_deadline;seconds=1ms;code=4008",
]
FAULTS = [fault for kind in fault_types() if kind.stage is Stage.WEBSOCKET for fault in variants(kind)]
FAULTS += [parse_fault(written) for written in OTHERWISE]
OF_PROCESS = [fault for kind in fault_types() if kind.stage is Stage.PROCESS for fault in variants(kind)]

Lines = list[str | bytes]

ECHOED: Lines = ["hello", b"\x00\x01\x02", "ünïcödé " * 10_000]
_COMMIT = {"type": "input_audio_buffer.commit"}
_AUDIO = base64.b64encode(b"\x01\x02" * AUDIO_BYTES_PER_TOKEN).decode()
SPOKEN: Lines = [
    json.dumps(event)
    for event in (
        {"type": "session.update", "model": "sim"},
        _COMMIT,
        {"type": "input_audio_buffer.append", "audio": _AUDIO},
        _COMMIT | {"final": True},
    )
]
TALKS = {"/echo": ECHOED, "/v1/realtime": SPOKEN}


async def hear(stage: FleetStage, ws: aiohttp.ClientWebSocketResponse) -> None:
    """Tell each message until all is quiet, or until there will be none."""
    while not ws.closed:
        hearing = asyncio.create_task(ws.receive())
        await settle()
        if not hearing.done():
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
            return
        message = hearing.result()
        said = undated(str(message.data))
        stage.tell(message.type.name, said[:20], len(said), zlib.crc32(said.encode()), message.extra)


async def talk(
    stage: FleetStage, session: aiohttp.ClientSession, fleet: Fleet, path: str, *, compress: int = 0
) -> None:
    """Open a websocket, say what there is to say at this path, and tell all that comes of it."""
    timeout, url = aiohttp.ClientWSTimeout(ws_close=0.05), f"{fleet[0].url}{path}"
    try:
        async with session.ws_connect(url, timeout=timeout, compress=compress) as ws:
            stage.tell("open", ws.protocol, ws.compress)
            await settle()
            for line in TALKS[path]:
                await (ws.send_str(line) if isinstance(line, str) else ws.send_bytes(line))
                await hear(stage, ws)
            await ws.ping(b"there?")
            await hear(stage, ws)
            stage.tell("closing", ws.closed)
        stage.tell("closed", ws.close_code, causes(ws.exception(), fleet[0].port))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        stage.tell("raised", causes(error, fleet[0].port))
    await settle()


def talking(
    path: str, *, fault: Fault | None = None, profile: Profile | None = None, compress: int = 0
) -> FleetScenario:
    """Two websockets, one after the other, between them a request; both are struck by the fault."""

    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, profile=profile, keepalive_timeout=60) as fleet:
            async with stage.session() as session, contextlib.AsyncExitStack() as stack:
                if fault is not None:
                    await stack.enter_async_context(stage.struck(fleet, fault))
                for _ in range(2):
                    await talk(stage, session, fleet, path, compress=compress)
                    stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    return scenario


@pytest.mark.parametrize("path", TALKS)
@pytest.mark.parametrize("compress", [0, 15])
def test_a_talk_in_a_simulation_is_that_on_loopback(path: str, compress: int) -> None:
    assert_same(talking(path, compress=compress))


@pytest.mark.parametrize("path", TALKS)
@pytest.mark.parametrize("fault", FAULTS, ids=Fault.written)
def test_a_fault_strikes_websockets_in_a_simulation_as_on_loopback(fault: Fault, path: str) -> None:
    assert_same(talking(path, fault=fault), races=fault.name in RACES)


@pytest.mark.parametrize("fault", OF_PROCESS, ids=Fault.written)
def test_a_fault_of_a_process_strikes_an_open_websocket_as_on_loopback(fault: Fault) -> None:
    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            async with stage.session() as session, session.ws_connect(f"{fleet[0].url}/echo") as ws:
                await ws.send_str("before")
                await hear(stage, ws)
                async with stage.struck(fleet, fault):
                    await hear(stage, ws)
                    await talk(stage, session, fleet, "/echo")
                stage.tell(ws.closed, ws.close_code)
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)


@pytest.mark.parametrize("fault", ["no_pong", "half_open"])
def test_a_heartbeat_that_nobody_answers_ends_a_websocket_as_on_loopback(fault: str) -> None:
    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            with fleet[0].fault(fault):
                async with stage.session() as session, session.ws_connect(f"{fleet[0].url}/echo", heartbeat=0.02) as ws:
                    message = await ws.receive()
                    stage.tell(message.type.name, causes(ws.exception(), fleet[0].port), ws.close_code)
                await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)
