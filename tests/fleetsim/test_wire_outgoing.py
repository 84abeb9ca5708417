from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from answers import DONE, events
from raw_http import dated

from fleetsim import EventStream, Reply, Unary
from fleetsim.wire.endings import DEFAULT_ENDING, Eager, Ending
from fleetsim.wire.outgoing import Conclusion, Framing, Outgoing


class Pipe:
    """Keeps what is written, write by write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.drains = 0

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    async def drain(self) -> None:
        self.drains += 1

    def unbuffer(self) -> None:
        raise AssertionError("nobody asked for it")


def outgoing(reply: Reply, *, head_only: bool = False) -> tuple[Outgoing, Pipe]:
    async def compute() -> Reply:
        return reply

    pipe = Pipe()
    return Outgoing(pipe, compute, head_only=head_only), pipe


def two_events() -> EventStream:
    return EventStream(events(b"data: 1\n\n", DONE))


async def pieces(reply: Reply, framing: Framing = Framing.NATURAL, *, terminated: bool = True) -> list[bytes]:
    out, _ = outgoing(reply)
    return [piece async for piece in out.pieces(reply, framing, terminated=terminated)]


async def test_the_default_writes_a_head_and_a_body() -> None:
    out, pipe = outgoing(Unary(200, b"{}"))
    await DEFAULT_ENDING.send(out)
    head, body = pipe.writes
    assert head.endswith(b"\r\n\r\n")
    assert body == b"{}"
    assert out.conclusion is Conclusion.KEEP


async def test_the_default_writes_a_head_and_one_chunk_per_event() -> None:
    out, pipe = outgoing(two_events())
    await DEFAULT_ENDING.send(out)
    assert pipe.writes[1:] == [b"9\r\ndata: 1\n\n\r\n", b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"]
    assert pipe.drains == 2


@pytest.mark.parametrize("reply", [Unary(200, b"{}"), two_events()], ids=["unary", "stream"])
async def test_eager_writes_once(reply: Reply) -> None:
    out, pipe = outgoing(reply)
    await Eager().send(out)
    assert len(pipe.writes) == 1


async def test_a_stream_without_done_ends_in_the_last_chunk_alone() -> None:
    assert await pieces(EventStream(events(b"data: 1\n\n"))) == [b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n"]


async def test_the_framing_decides_the_pieces() -> None:
    assert await pieces(Unary(200, b"abc")) == [b"abc"]
    assert await pieces(Unary(200, b"abc"), Framing.CHUNKED) == [b"3\r\nabc\r\n"]
    assert await pieces(Unary(200, b"")) == []
    assert await pieces(two_events(), Framing.UNTIL_CLOSE) == [b"data: 1\n\n", DONE]
    assert (await pieces(two_events(), terminated=False))[-1] == b"e\r\ndata: [DONE]\n\n\r\n"


async def test_a_reader_that_stops_early_closes_the_events() -> None:
    closed = []

    async def watched() -> AsyncIterator[bytes]:
        try:
            yield b"data: 1\n\n"
            yield DONE
        finally:
            closed.append(True)

    reply = EventStream(watched())
    out, _ = outgoing(reply)
    stream = out.pieces(reply)
    assert await anext(stream) == b"9\r\ndata: 1\n\n\r\n"
    await stream.aclose()
    assert closed == [True]


@pytest.mark.parametrize("ending", [DEFAULT_ENDING, Eager()], ids=["split", "eager"])
@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_neither_length_nor_body(status: int, ending: Ending) -> None:
    out, pipe = outgoing(Unary(status, b"not sent"))
    await ending.send(out)
    assert len(pipe.writes) == 1
    assert b"content-length" not in pipe.writes[0]
    assert pipe.writes[0].endswith(b"\r\n\r\n")


async def test_an_answer_to_head_has_the_length_and_no_body() -> None:
    out, pipe = outgoing(Unary(200, b"{}"), head_only=True)
    await DEFAULT_ENDING.send(out)
    assert len(pipe.writes) == 1
    assert b"content-length: 2\r\n" in pipe.writes[0]
    assert out.terminator == b""


async def test_a_stream_in_answer_to_head_is_closed_unread() -> None:
    reply = two_events()
    out, pipe = outgoing(reply, head_only=True)
    await DEFAULT_ENDING.send(out)
    assert len(pipe.writes) == 1
    assert [event async for event in reply.events] == []


async def test_the_status_is_known_once_there_is_a_head() -> None:
    out, _ = outgoing(Unary(418, b""))
    assert out.status is None
    assert dated(out.head(Unary(418, b""))).startswith(b"HTTP/1.1 418 ")
    assert out.status == 418


async def test_only_a_reply_from_outside_the_middlewares_dies() -> None:
    for vary in (True, False):
        out, _ = outgoing(Unary(500, b"", vary=vary))
        out.head(Unary(500, b"", vary=vary))
        assert out.dies is not vary
