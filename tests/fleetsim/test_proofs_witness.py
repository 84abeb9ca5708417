from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

from fleetsim.proofs.witness import WatchedLoop


def run(work: Coroutine[Any, Any, None]) -> WatchedLoop:
    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)
    return loop


async def three_connections() -> None:
    """Two at once, then both closed, then a third."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WatchedLoop)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        assert (loop.witness.open_now, loop.witness.open_since(1)) == (2, 1)
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        assert loop.witness.open_now == 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()


def test_sockets_are_counted_from_their_attempt_to_their_end() -> None:
    witness = run(three_connections()).witness
    assert (witness.attempts, witness.peak_open, witness.open_now) == (3, 2, 0)


def test_a_failed_attempt_counts_too() -> None:
    async def refused() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        try:
            await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        raise AssertionError("the connection was not refused")

    witness = run(refused()).witness
    assert (witness.attempts, witness.peak_open, witness.open_now) == (1, 1, 0)


def test_sockets_can_be_counted_by_where_they_go() -> None:
    async def two_addresses() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WatchedLoop)
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            addresses = [listener.getsockname() for listener in (one, other)]
            writers = [(await asyncio.open_connection(*address))[1] for address in (addresses[0], *addresses)]
            assert [loop.witness.open_to(*address) for address in addresses] == [2, 1]
            for writer in writers:
                writer.close()
                await writer.wait_closed()
            assert [loop.witness.open_to(*address) for address in addresses] == [0, 0]

    run(two_addresses())


def test_the_peak_can_be_started_anew() -> None:
    witness = run(three_connections()).witness
    witness.forget_peak()
    assert witness.peak_open == 0


def test_a_name_resolves_to_the_addresses_it_was_given_and_others_as_ever() -> None:
    async def look() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WatchedLoop)
        loop.names["three.test"] = ("127.0.0.1", "127.0.0.2")
        for name in ("three.test", b"three.test"):  # anyio asks with bytes
            found = await loop.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
            assert [address for *_, address in found] == [("127.0.0.1", 80), ("127.0.0.2", 80)]
        assert (await loop.getaddrinfo("127.0.0.9", 80))[0][4] == ("127.0.0.9", 80)

    run(look())
