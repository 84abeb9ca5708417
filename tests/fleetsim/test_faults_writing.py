from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fleetsim.exchange import EventStream, Reply, Unary
from fleetsim.faults.writing import content, head_of_length, write_body, write_paused, write_sliced
from fleetsim.wire.outgoing import Outgoing

EVENTS = (b"data: one\n\n", b"data: [DONE]\n\n")


class Written:
    """A pipe that keeps what is written, one item per write."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        """It always takes more."""

    def unbuffer(self) -> None:
        """Nothing is ever buffered."""


async def events() -> AsyncIterator[bytes]:
    for event in EVENTS:
        yield event


def outgoing(reply: Reply, *, head_only: bool = False) -> tuple[Outgoing, Written]:
    async def answer() -> Reply:
        return reply

    written = Written()
    return Outgoing(written, answer, head_only=head_only), written


async def test_content_is_the_whole_body_unframed() -> None:
    stream, whole = EventStream(events()), Unary(200, b"whole")
    assert await content(outgoing(stream)[0], stream) == b"".join(EVENTS)
    assert await content(outgoing(whole)[0], whole) == b"whole"


@pytest.mark.parametrize("reply", [Unary(200, b"whole"), EventStream(events())])
def test_a_head_can_announce_any_length(reply: Reply) -> None:
    out, _ = outgoing(reply)
    head = head_of_length(out, reply, 17)
    assert b"content-length: 17\r\n" in head
    assert b"chunked" not in head
    assert out.status == 200


async def test_a_body_leaves_in_one_write_per_piece() -> None:
    reply = EventStream(events())
    out, written = outgoing(reply)
    await write_body(out, reply)
    assert len(written.pieces) == 2
    assert written.pieces[-1].endswith(b"0\r\n\r\n")


async def test_a_response_without_a_body_has_nothing_to_write() -> None:
    reply = Unary(200, b"whole")
    out, written = outgoing(reply, head_only=True)
    out.head(reply)
    await write_body(out, reply)
    assert written.pieces == []


async def test_pauses_cut_the_body_where_they_say_and_lose_nothing() -> None:
    reply = Unary(200, b"abcdef")
    out, written = outgoing(reply)
    await write_paused(out, reply, [(4, 0.0), (1, 0.0)])
    assert written.pieces[1:] == [b"a", b"bcd", b"ef"]


async def test_slices_are_of_the_size_asked_for_but_for_the_last() -> None:
    out, written = outgoing(Unary(200, b""))
    await write_sliced(out, b"abcdefg", 3, 0.0)
    assert written.pieces == [b"abc", b"def", b"g"]
