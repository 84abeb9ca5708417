from __future__ import annotations

import asyncio
import errno
import gc
import socket
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest
from answers import Witness, hello
from raw_http import Peer, post

from fleetsim import ApiRequest, BindError, FakeVLLMServer, Fleet, Profile, Reply, StuckRequestError
from fleetsim.wire import listener


async def test_while_accepting_is_paused_connects_succeed_and_nobody_answers() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        server = fleet[0]
        await server.pause_accepting()
        await server.pause_accepting()
        async with Peer(server.port) as peer:
            await peer.send(post("/"))
            assert fleet.ledger.opened == 0
            await server.resume_accepting()
            await server.resume_accepting()
            assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
            assert fleet.ledger.opened == 1


async def test_a_pause_does_not_touch_connections_that_are_there() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await fleet.ledger.wait_for(opened=1)
        await fleet[0].pause_accepting()
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_fleet_can_be_left_while_accepting_is_paused() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        await fleet[0].pause_accepting()
        port = fleet[0].port
    with pytest.raises(ConnectionRefusedError):
        await Peer(port).__aenter__()


@pytest.mark.parametrize("move", ["pause", "refuse", "close"])
async def test_a_connection_that_is_just_being_accepted_leaves_no_socket_open(move: str) -> None:
    """asyncio asserts that its server is open when it hands a connection over, a turn after it was accepted."""
    for turns in range(4):
        async with Fleet(1, answer=lambda index: hello) as fleet:
            # The kernel's handshake is over when it returns, and no turn of the loop has gone by.
            with socket.create_connection(("127.0.0.1", fleet[0].port)):
                for _ in range(turns):
                    await asyncio.sleep(0)
                if move == "pause":
                    await fleet[0].pause_accepting()
                elif move == "refuse":
                    await fleet[0].fault("refuse").settled()
                else:
                    await fleet[0].close()
                await asyncio.sleep(0)
                gc.collect()


async def test_a_port_in_use_is_named_with_host_port_and_reason() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        second = FakeVLLMServer(hello, port=fleet[0].port)
        with pytest.raises(BindError) as caught:
            await second.start()
        assert str(caught.value) == f"cannot listen on 127.0.0.1 port {fleet[0].port}: Address already in use"
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", fleet[0].port)
        assert isinstance(caught.value.__cause__, OSError)


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1 port 0: "):
        await FakeVLLMServer(hello, host="192.0.2.1").start()


async def test_an_answer_that_will_not_stop_is_reported_and_does_not_hang_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "CLOSE_GRACE", 0.01)
    let_go = asyncio.Event()

    async def stubborn(request: ApiRequest) -> Reply:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        raise ArithmeticError("nobody hears this")

    server = FakeVLLMServer(stubborn)
    await server.start()
    async with Peer(server.port) as peer:
        await peer.send(post("/"))
        await server.ledger.wait_for(in_flight=1)
        with pytest.raises(StuckRequestError, match="server 0: 1 requests still run"):
            await server.close()
        let_go.set()
        await server.ledger.wait_for(open_now=0)
        assert [each.outcome for each in server.ledger.request_records()] == ["server_closed"]


async def test_waiting_for_the_last_connection_outlasts_new_requests_on_it() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/") + post("/"))
        await witness.begun.wait()
        draining = asyncio.create_task(fleet[0].drain())
        await asyncio.sleep(0)
        assert not draining.done()
        witness.let_go.set()
        assert (await peer.to_the_end()).count(b"HTTP/1.1 200 OK") == 1
        await draining


async def test_a_burst_of_connects_finds_room_in_the_kernels_queue() -> None:
    """asyncio is told of a queue of one, the kernel of the profile's 2048."""
    async with Fleet(1, answer=lambda index: hello) as fleet, AsyncExitStack() as peers:
        for _ in range(2):  # as it was started, and as it was resumed
            await fleet[0].pause_accepting()
            for _ in range(100):
                await peers.enter_async_context(Peer(fleet[0].port))
            await fleet[0].resume_accepting()
            await fleet.ledger.wait_for(opened=100)
        await fleet.ledger.wait_for(opened=200)


async def test_the_kernel_is_told_the_whole_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(socket, "socket", listening_socket(told))
    async with Fleet(1, answer=lambda index: hello, profile=Profile(backlog=300)) as fleet:
        await fleet[0].pause_accepting()
        await fleet[0].resume_accepting()
    assert told == [1, 300, 1, 300]


def listening_socket(told: list[int]) -> type[socket.socket]:
    class Listening(socket.socket):
        def listen(self, backlog: int = 128, /) -> None:
            told.append(backlog)
            super().listen(backlog)

    return Listening


async def test_without_descriptors_one_accept_fails_per_try_and_is_served_when_there_are_some_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio would log as many tracebacks as its backlog, at each try, and every one would start a try of its own."""
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.01)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    attempts = count(1)
    accept = socket.socket.accept

    def exhausted(self: socket.socket) -> tuple[socket.socket, Any]:
        if next(attempts) <= 5:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", exhausted)
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert (await peer.response()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert complaints == 5 * ["socket.accept() out of system resource"]
