"""The pool against a fleet that speaks TLS: the same promises, counted at both ends."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fleetsim import Fleet
from swarmpool import FailureKind, VLLMPool, parse_hostfile


def make_pool(fleet: Fleet, **options: Any) -> VLLMPool:
    return VLLMPool(
        fleet.endpoints, model="sim", max_tokens=4, model_max_context=4096, **{"ssl": fleet.ssl_context(), **options}
    )


async def test_connections_are_reused_and_both_ends_count_the_same() -> None:
    async with Fleet(3, tls=True) as fleet:
        pool = make_pool(fleet, concurrency_per_agent=2)
        async with pool:
            answers = await pool.send_all(["hi"] * 60)
            assert all(answer.success for answer in answers)
            now = pool.statistics().connections
            assert now.opened == fleet.ledger.opened <= 6
            assert now.reused == fleet.ledger.reused
            assert {record.tls for record in fleet.ledger.connection_records()} == {"TLSv1.3"}
        await fleet.ledger.wait_for(open_now=0)
        assert pool.statistics().connections.open == 0


async def test_the_limit_on_open_sockets_holds_over_tls() -> None:
    async with Fleet(8, tls=True) as fleet:
        async with make_pool(fleet, connector_limit=3) as pool:
            assert all(answer.success for answer in await pool.send_all(["hi"] * 40))
            assert pool.statistics().connections.peak_open <= 3
        await fleet.ledger.wait_for(open_now=0)
        assert pool.statistics().connections.opened == fleet.ledger.opened


async def test_a_pool_closed_under_streams_leaves_nothing_at_either_end() -> None:
    async with Fleet(2, tls=True) as fleet:
        pool = make_pool(fleet)
        with fleet.hold() as hold:
            asked = [asyncio.create_task(pool.post(index, "hi")) for index in (0, 1, 0)]
            await hold.wait_for(in_flight=3)
            await pool.close()
            await fleet.ledger.wait_for(open_now=0, in_flight=0)
        assert not any(answer.success for answer in await asyncio.gather(*asked))
        assert pool.statistics().connections.open == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("truncated", FailureKind.TRUNCATED),
        ("reset", FailureKind.TRUNCATED),
        ("before_head", FailureKind.DISCONNECTED),
        ("before_head_rst", FailureKind.RESET),
    ],
)
async def test_an_ending_is_of_the_same_kind_as_without_tls(fault: str, kind: FailureKind) -> None:
    async with Fleet(1, tls=True) as fleet, make_pool(fleet) as pool:
        with fleet[0].fault(fault, times=1):
            assert (await pool.post(0, "hi")).kind is kind
        assert (await pool.post(0, "hi")).success


async def test_a_handshake_nobody_answers_is_a_connect_timeout() -> None:
    async with Fleet(1, tls=True) as fleet, make_pool(fleet, connect_timeout=0.05) as pool:
        with fleet[0].fault("blackhole", times=1):
            assert (await pool.post(0, "hi")).kind is FailureKind.CONNECT_TIMEOUT
        assert fleet.ledger.connection_records()[0].tls is None


async def test_a_pool_that_trusts_others_gets_nowhere_and_the_ledger_says_why() -> None:
    async with Fleet(1, tls=True) as fleet, make_pool(fleet, ssl=None) as pool:
        assert (await pool.post(0, "hi")).kind is FailureKind.TLS
        await fleet.ledger.wait_for(closed=1, open_now=0)
        (record,) = fleet.ledger.connection_records()
        assert (record.ended_by, record.tls, record.requests) == ("client", None, 0)


async def test_a_fingerprint_of_the_servers_certificate_is_enough() -> None:
    async with Fleet(1, tls=True) as fleet:
        # In a thread: the fleet answers in this loop.
        host, port = fleet.endpoints[0].host, fleet.endpoints[0].port
        pem = await asyncio.to_thread(ssl.get_server_certificate, (host, port))
        pinned = aiohttp.Fingerprint(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest())
        async with make_pool(fleet, ssl=pinned) as pool:
            assert (await pool.post(0, "hi")).success


async def test_a_hostfile_of_a_tls_fleet_is_read_back_with_its_scheme_and_tags(tmp_path: Path) -> None:
    async with Fleet(2, tls=True, tags=[{"rack": "a"}, {}]) as fleet:
        endpoints = parse_hostfile(fleet.hostfile(tmp_path / "hosts.tsv"))
        assert [endpoint.url for endpoint in endpoints] == list(fleet.urls)
        assert [dict(endpoint.tags) for endpoint in endpoints] == [{"rack": "a"}, {}]
        async with VLLMPool(endpoints, model="sim", max_tokens=4, ssl=fleet.ssl_context()) as pool:
            assert (await pool.post(1, "hi")).success


@pytest.mark.fleet(size=2, tls=True)
async def test_the_fleet_of_the_fixture_may_speak_tls(fleet: Fleet) -> None:
    async with make_pool(fleet) as pool:
        assert all(answer.success for answer in await pool.send_all(["hi"] * 8))
    fleet.assert_all_closed(within="5s")
    assert {record.tls for record in fleet.ledger.connection_records()} == {"TLSv1.3"}
