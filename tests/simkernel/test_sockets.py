"""The calls of a simulated socket, one by one, as the man pages have them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any

import pytest

import simkernel
from simkernel import Net


def inside(main: Callable[[Net], Any], **settings: Any) -> Any:
    return simkernel.verify(main, **{"latency": 0.01, "jitter": 0.0} | settings).value


async def pair(net: Net, backlog: int = 5) -> tuple[socket.socket, socket.socket, socket.socket]:
    """A listening socket, a client connected to it, and the server's end of that."""
    listening, client = socket.socket(), socket.socket()
    listening.bind((net.host("a").address, 80))
    listening.listen(backlog)
    for each in (listening, client):
        each.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (net.host("a").address, 80))
    await asyncio.sleep(1)
    server, _ = listening.accept()
    server.setblocking(False)
    return listening, client, server


def close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def told(call: Callable[..., Any], *args: Any) -> int | None:
    """The errno of what a call raises; None where it returns."""
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return None


def test_names_are_those_of_both_ends() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        names = [listening.getsockname(), client.getsockname(), client.getpeername(), server.getpeername()]
        close(listening, client, server)
        return names

    listens, client, peer, back = inside(main)
    assert listens == peer == ("10.0.0.1", 80)
    assert client == back == ("10.255.0.1", 32768)


def test_unread_data_outlives_a_reset_then_comes_the_error_then_the_end() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        server.send(b"last words")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        await asyncio.sleep(1)
        seen = [client.recv(4), client.recv(100), told(client.recv, 1), client.recv(1), told(client.send, b"x")]
        close(listening, client)
        return seen

    assert inside(main) == [b"last", b" words", errno.ECONNRESET, b"", errno.EPIPE]


def test_closing_with_unread_data_resets() -> None:
    async def main(net: Net) -> int | None:
        listening, client, server = await pair(net)
        client.send(b"nobody reads this")
        await asyncio.sleep(1)
        server.close()
        await asyncio.sleep(1)
        number = told(client.recv, 1)
        close(listening, client)
        return number

    assert inside(main) == errno.ECONNRESET


def test_the_end_of_the_stream_comes_before_the_error_of_a_reset_behind_it() -> None:
    """Linux, tcp_recvmsg(): a client that is sent a FIN and then an RST reads the end, whatever it has sent since."""

    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        server.close()
        await asyncio.sleep(1)
        client.send(b"to nobody")
        await asyncio.sleep(1)
        seen = [client.recv(1), told(client.send, b"x"), client.recv(1)]
        close(listening, client)
        return seen

    assert inside(main) == [b"", errno.EPIPE, b""]


def test_without_latency_all_has_arrived_when_the_call_returns() -> None:
    """So it is on Linux's loopback: who sends twice to a closed end is told EPIPE the second time."""

    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        server.send(b"last words")
        server.close()
        seen = [client.recv(100), client.recv(1), client.send(b"to nobody"), told(client.send, b"again")]
        close(listening, client)
        return seen

    assert inside(main, latency=0) == [b"last words", b"", 9, errno.EPIPE]


def test_without_latency_a_connection_is_there_when_connect_returns() -> None:
    async def main(net: Net) -> list[Any]:
        here, nobody = (net.host("a").address, 80), (net.host("a").address, 81)
        listening, client, refused = socket.socket(), socket.socket(), socket.socket()
        listening.bind(here)
        listening.listen(1)
        for each in (client, refused, listening):
            each.setblocking(False)
        seen = [told(client.connect, here), told(refused.connect, nobody)]
        server, _ = listening.accept()
        seen.append(refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        close(listening, client, server, refused)
        return seen

    assert inside(main, latency=0) == [errno.EINPROGRESS, errno.EINPROGRESS, errno.ECONNREFUSED]


def test_a_half_closed_connection_still_answers() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        client.shutdown(socket.SHUT_WR)
        await asyncio.sleep(1)
        seen = [server.recv(1), told(client.send, b"x"), server.send(b"answer")]
        await asyncio.sleep(1)
        seen.append(client.recv(100))
        close(listening, client, server)
        return seen

    assert inside(main) == [b"", errno.EPIPE, 6, b"answer"]


def test_a_full_buffer_blocks_until_the_peer_has_read() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        seen: list[Any] = [client.send(b"x" * 150), told(client.send, b"y")]
        writable, loop = asyncio.Event(), asyncio.get_running_loop()

        def is_writable() -> None:
            loop.remove_writer(client.fileno())
            writable.set()

        loop.add_writer(client.fileno(), is_writable)
        await asyncio.sleep(1)
        seen += [writable.is_set(), len(server.recv(60))]
        await asyncio.sleep(1)
        seen += [writable.is_set(), client.send(b"z" * 100)]
        close(listening, client, server)
        return seen

    assert inside(main, buffer=100) == [100, errno.EAGAIN, False, 60, True, 60]


def test_an_unaccepted_connection_is_reset_when_nobody_listens_any_more() -> None:
    async def main(net: Net) -> int | None:
        listening, client, server = await pair(net)
        second = socket.socket()
        second.setblocking(False)
        await asyncio.get_running_loop().sock_connect(second, ("10.0.0.1", 80))
        await asyncio.sleep(1)
        listening.close()
        await asyncio.sleep(1)
        number = told(second.recv, 1)
        close(client, server, second)
        return number

    assert inside(main) == errno.ECONNRESET


def test_a_twin_keeps_a_socket_open_and_a_shutdown_strikes_both() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        twin = socket.socket(fileno=os.dup(listening.fileno()))
        listening.close()
        second = socket.socket()
        second.setblocking(False)
        await asyncio.get_running_loop().sock_connect(second, ("10.0.0.1", 80))
        twin.shutdown(socket.SHUT_RDWR)
        third = socket.socket()
        third.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().sock_connect(third, ("10.0.0.1", 80))
        seen = [told(listening.fileno), listening.fileno(), told(twin.accept)]
        close(twin, client, server, second, third)
        return seen

    assert inside(main) == [None, -1, errno.EINVAL]


def test_a_detached_descriptor_lives_on_in_another_socket() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        again = socket.socket(fileno=client.detach())
        again.setblocking(False)
        sent = again.send(b"hello")
        await asyncio.sleep(1)
        seen = [client.fileno(), sent, server.recv(10)]
        close(listening, again, server)
        return [*seen, len(net.descriptors)]

    assert inside(main) == [-1, 5, b"hello", 0]


def test_poll_select_and_ioctl_know_simulated_descriptors() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        poll = select.poll()
        poll.register(client, select.POLLIN)
        seen: list[Any] = [poll.poll(0)]
        server.send(b"hello")
        await asyncio.sleep(1)
        seen += [[mask for _, mask in poll.poll(0)], select.select([client], [client], [], 0)[0] == [client]]
        seen.append(struct.unpack("i", fcntl.ioctl(client.fileno(), termios.FIONREAD, bytes(4)))[0])
        seen.append(client.recv(1, socket.MSG_PEEK))
        close(listening, client, server)
        return [*seen, [mask for _, mask in poll.poll(0)]]

    assert inside(main) == [[], [select.POLLIN], True, 5, b"h", [select.POLLNVAL]]


def test_wrong_calls_are_told_as_the_kernel_tells_them() -> None:
    async def main(net: Net) -> list[Any]:
        listening, client, server = await pair(net)
        with socket.socket() as other:
            seen = [
                told(other.bind, ("10.0.0.1", 80)),
                told(other.getpeername),
                told(other.send, b"x"),
                told(other.recv, 1),
                told(other.shutdown, socket.SHUT_WR),
                told(client.connect, ("10.0.0.1", 80)),
                told(client.accept),
            ]
        close(listening, client, server)
        return [*seen, told(client.send, b"x"), told(socket.socket, socket.AF_INET6)]

    assert inside(main) == [
        errno.EADDRINUSE,
        errno.ENOTCONN,
        errno.ENOTCONN,
        errno.ENOTCONN,
        errno.ENOTCONN,
        errno.EISCONN,
        errno.EINVAL,
        errno.EBADF,
        errno.EAFNOSUPPORT,
    ]


def test_a_socket_dropped_without_close_warns_and_is_closed() -> None:
    async def main(net: Net) -> int:
        listening = socket.socket()
        assert listening.fileno() > 0
        with pytest.warns(ResourceWarning, match="unclosed <SimSocket"):
            del listening
        return len(net.descriptors)

    assert inside(main) == 0
