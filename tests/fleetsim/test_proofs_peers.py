from __future__ import annotations

import asyncio
import socket

import pytest

from fleetsim.proofs.peers import deaf_peer, silent_peer

MEGABYTES_30 = bytes(30_000_000)


async def test_a_deaf_peer_lets_one_connect_and_never_reads() -> None:
    loop = asyncio.get_running_loop()
    with deaf_peer() as peer, socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, (peer.host, peer.port))
        sending = asyncio.create_task(loop.sock_sendall(client, MEGABYTES_30))
        assert not (await asyncio.wait([sending], timeout=0.2))[0]
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_silent_peer_leaves_a_syn_unanswered() -> None:
    with silent_peer() as peer, socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.get_running_loop().sock_connect(client, (peer.host, peer.port))


def test_a_port_that_is_taken_leaves_no_socket_behind() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(OSError, match="in use"), silent_peer(port=holder.getsockname()[1]):
            pass
