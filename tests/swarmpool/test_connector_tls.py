"""The connector over TLS: the same counts, the same limit, also when a handshake fails or is cut."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
import trustme
from cancel_steps import cancel_at_every_step
from raw_agent import RawAgent, eventually
from watched import on_watched_loop

from fleetsim.proofs.witness import WatchedLoop
from swarmpool import AgentEndpoint, AgentPool, FailureKind
from swarmpool.sockets import SocketStatistics


def sockets_of(pool: AgentPool) -> SocketStatistics:
    return pool.statistics().connections


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "agents.example").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


async def test_tls_connections_are_reused_and_counted_like_any_other(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with RawAgent(ssl=server_tls) as agent:
        assert agent.endpoint.scheme == "https"
        async with AgentPool([agent.endpoint], ssl=client_tls, concurrency=2) as pool:
            assert all(response.success for response in await pool.send_all(["hi"] * 20))
            now = sockets_of(pool)
            assert (now.opened, now.reused, now.idle) == (agent.opened, 20 - agent.opened, agent.opened)
        assert sockets_of(pool).open == 0
        await eventually(lambda: agent.open_now == 0)


@pytest.mark.parametrize("verify", [None, True])
async def test_a_certificate_nobody_vouches_for_is_of_kind_tls_and_loses_no_socket(
    server_tls: ssl.SSLContext, verify: bool | None
) -> None:
    async with RawAgent(ssl=server_tls) as agent, AgentPool([agent.endpoint], ssl=verify, connector_limit=1) as pool:
        for _ in range(2):
            response = await pool.post(0, "hi")
            assert response.kind is FailureKind.TLS
            assert "certificate" in (response.error or "").lower()
        await eventually(lambda: sockets_of(pool).open == 0)
        assert (sockets_of(pool).opened, sockets_of(pool).failed) == (0, 2)


async def test_ssl_false_takes_any_certificate(server_tls: ssl.SSLContext) -> None:
    async with RawAgent(ssl=server_tls) as agent, AgentPool([agent.endpoint], ssl=False) as pool:
        assert (await pool.post(0, "hi")).success


def fingerprint_of(certificate: trustme.LeafCert) -> aiohttp.Fingerprint:
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return aiohttp.Fingerprint(hashlib.sha256(der).digest())


async def test_a_fingerprint_takes_the_one_certificate_it_is_of(authority: trustme.CA) -> None:
    certificate, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with RawAgent(ssl=context) as agent:
        async with AgentPool([agent.endpoint], ssl=fingerprint_of(certificate), connector_limit=1) as pool:
            assert all(response.success for response in await pool.send_all(["hi"] * 3))
            assert (sockets_of(pool).opened, sockets_of(pool).reused) == (1, 2)
        async with AgentPool([agent.endpoint], ssl=fingerprint_of(other), connector_limit=1) as pool:
            for _ in range(2):
                assert (await pool.post(0, "hi")).kind is FailureKind.TLS
            await eventually(lambda: sockets_of(pool).open == 0)
        await eventually(lambda: agent.open_now == 0)


def test_a_wrong_fingerprint_is_no_reason_to_try_the_next_address_of_the_name(authority: trustme.CA) -> None:
    async def main(loop: WatchedLoop) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("agents.example").configure_cert(context)
        async with RawAgent(ssl=context, hosts=("127.0.0.1", "127.0.0.2")) as agent:
            loop.names["agents.example"] = ("127.0.0.1", "127.0.0.2")
            endpoint = AgentEndpoint("agents.example", agent.port, scheme="https")
            async with AgentPool([endpoint], ssl=aiohttp.Fingerprint(bytes(32)), connector_limit=1) as pool:
                assert (await pool.post(0, "hi")).kind is FailureKind.TLS
                assert (loop.witness.attempts, loop.witness.peak_open) == (1, 1)
                assert sockets_of(pool).peak_open == 1

    on_watched_loop(main)


async def test_a_server_that_speaks_no_tls_is_of_kind_tls() -> None:
    async with RawAgent(lambda _: None) as agent:
        endpoint = AgentEndpoint("127.0.0.1", agent.port, scheme="https")
        async with AgentPool([endpoint]) as pool:
            request = asyncio.create_task(pool.post(0, "hi"))
            await eventually(lambda: agent.connections)
            agent.connections[0].write(b"220 mail.example ESMTP\r\n")
            assert (await request).kind is FailureKind.TLS
            await eventually(lambda: sockets_of(pool).open == 0)


def test_an_address_whose_handshake_fails_is_gone_before_the_next_is_tried(authority: trustme.CA) -> None:
    async def main(loop: WatchedLoop) -> None:
        loop.set_exception_handler(lambda *_: None)  # the servers' side of a refused handshake
        client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.configure_trust(client)
        authority.issue_cert("somebody.example").configure_cert(server)
        async with RawAgent(ssl=server, hosts=("127.0.0.1", "127.0.0.2", "127.0.0.3")) as agent:
            loop.names["agents.example"] = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
            endpoint = AgentEndpoint("agents.example", agent.port, scheme="https")
            async with AgentPool([endpoint], ssl=client, connector_limit=1) as pool:
                assert (await pool.post(0, "hi")).kind is FailureKind.TLS
                assert (loop.witness.attempts, loop.witness.peak_open) == (3, 1)

    on_watched_loop(main)


async def test_cancelled_at_any_step_a_tls_request_loses_no_socket(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    @asynccontextmanager
    async def scene(agent: RawAgent) -> AsyncIterator[Coroutine[Any, Any, object]]:
        async with AgentPool([agent.endpoint], ssl=client_tls, connector_limit=1) as pool:
            yield pool.post(0, "hi")
            assert (await pool.post(0, "hi")).success
        end = sockets_of(pool)
        assert (end.open, end.opened - end.closed) == (0, 0)

    async with RawAgent(ssl=server_tls) as agent:
        assert await cancel_at_every_step(partial(scene, agent)) > 5
