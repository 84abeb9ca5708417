"""A fleet that speaks TLS does in a simulation what it does on real loopback sockets. OpenSSL is the real one in both.

Its bytes are no part of a run's digest: two runs of a seed are equal though they have not one key in common.
"""

from __future__ import annotations

import asyncio
import ssl

import pytest
from differential_fleet import (
    STREAM,
    UNARY,
    UPLOAD,
    Asked,
    FleetStage,
    assert_same,
    may_last,
    play,
    settle,
    striking,
    trusting,
)

import simkernel
from fleetsim import Fleet, parse_fault
from fleetsim.certificates import Authority

FAULTS = [
    "split",
    "until_close",
    "truncated",
    "close",
    "idle_fin;seconds=1ms",
    "idle_rst;seconds=1ms",
    "half_close",
    "stale",
    "stale;how=rst",
    "before_head",
    "before_head_rst",
    "blackhole",
    "slow_accept;seconds=1ms",
    "accept_rst",
    "refuse",
    "kill",
    "sigterm_abort",
]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("127.0.0.1")


@pytest.mark.parametrize("asked", [UNARY, STREAM], ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_strikes_inside_tls_as_on_loopback(fault: str, asked: Asked, authority: Authority) -> None:
    assert_same(striking(parse_fault(fault), asked, authority))


@pytest.mark.parametrize("fault", ["accept_fin", "reset"])
def test_a_fault_that_races_strikes_inside_tls_as_on_loopback(fault: str, authority: Authority) -> None:
    assert_same(striking(parse_fault(fault), UNARY, authority), races=True)


@pytest.mark.parametrize("fault", ["split", "before_head_rst", "stop_reading"])
def test_a_large_upload_inside_tls_is_as_on_loopback(fault: str, authority: Authority) -> None:
    async def scenario(stage: FleetStage) -> None:
        made = parse_fault(fault)
        async with Fleet(1, keepalive_timeout=60, tls=authority) as fleet:
            async with stage.session(**trusting(authority)) as session, stage.struck(fleet, made):
                for _ in range(2):
                    await stage.ask(session, fleet, UPLOAD, gives_up=may_last(made))
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario, with_latency=False)


@pytest.mark.parametrize("trusted", ["another authority", "what the system trusts", "TLSv1.2"])
def test_a_handshake_ends_as_on_loopback(trusted: str, authority: Authority) -> None:
    contexts = {
        "another authority": Authority("127.0.0.1").client(),
        "what the system trusts": ssl.create_default_context(),
        "TLSv1.2": authority.client(),
    }
    contexts["TLSv1.2"].maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60, tls=authority) as fleet:
            async with stage.session(ssl=contexts[trusted]) as session:
                for _ in range(2):
                    await stage.ask(session, fleet, UNARY)
                stage.tell_counts()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)


def test_a_client_without_tls_is_told_as_on_loopback(authority: Authority) -> None:
    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60, tls=authority) as fleet:
            reader, writer = await asyncio.open_connection("127.0.0.1", fleet[0].port)
            writer.write(b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n")
            try:
                stage.tell(await reader.read())
            except OSError as error:
                stage.tell(type(error).__name__, error.errno)
            writer.close()
            await settle()
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)


def test_the_bytes_of_tls_are_in_no_digest(authority: Authority) -> None:
    asked = striking(parse_fault("split"), UNARY, authority)
    digests = {simkernel.run(lambda net: play(asked), seed=4711).digest for _ in range(3)}
    assert len(digests) == 1
