"""How faults write a response: piece by piece as the reply makes it, or whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from fleetsim.exchange import EventStream, Reply
from fleetsim.wire import heads
from fleetsim.wire.outgoing import Framing, Outgoing

__all__ = ["content", "head_of_length", "write_body", "write_changed", "write_paused", "write_sliced"]


async def content(out: Outgoing, reply: Reply) -> bytes:
    """Return the whole body of `reply`, unframed; nothing where the response has none."""
    async with aclosing(out.pieces(reply, Framing.UNTIL_CLOSE)) as pieces:
        return b"".join([piece async for piece in pieces])


def head_of_length(out: Outgoing, reply: Reply, length: int) -> bytes:
    """Return the head for `reply` with this Content-Length, were it a stream or not."""
    if isinstance(reply, EventStream):
        out.status = 200
        return heads.head(200, length=length, extra=out.extra, close=out.closing)
    return out.head(reply, missing=length - len(reply.body))


async def write_body(out: Outgoing, reply: Reply) -> None:
    """Write the body as vLLM does, one write per piece; nothing where the response has none."""
    async with aclosing(out.pieces(reply)) as pieces:
        async for piece in pieces:
            out.write(piece)
            await out.drain()


async def write_paused(out: Outgoing, reply: Reply, pauses: Sequence[tuple[int, float | None]]) -> None:
    """Write the response with pauses `(after so many bytes of the body as framed, seconds or None for ever)`."""
    out.write(out.head(reply))
    left, sent = sorted(pauses, key=lambda pause: pause[0]), 0
    async with aclosing(out.pieces(reply)) as pieces:
        async for piece in pieces:
            while left and left[0][0] < sent + len(piece):
                after, seconds = left.pop(0)
                out.write(piece[: after - sent])
                piece, sent = piece[after - sent :], after
                await pause(seconds)
            out.write(piece)
            await out.drain()
            sent += len(piece)


async def pause(seconds: float | None) -> None:
    """Return in `seconds`; None never."""
    if seconds is None:
        await asyncio.get_running_loop().create_future()
    else:
        await asyncio.sleep(seconds)


async def write_sliced(out: Outgoing, data: bytes, size: int, seconds_per_slice: float) -> None:
    """Write `data` in slices of `size` bytes, each followed by a pause."""
    for start in range(0, len(data), size):
        out.write(data[start : start + size])
        await out.drain()
        await asyncio.sleep(seconds_per_slice)


async def write_changed(
    out: Outgoing, reply: EventStream, change: Callable[[AsyncGenerator[bytes, None]], AsyncGenerator[bytes, None]]
) -> None:
    """Write the head, what `change` makes of the events, each item as a chunk in one write, and the last chunk."""
    out.write(out.head(reply))
    if out.bodyless:
        return
    async with aclosing(out.pieces(reply, Framing.UNTIL_CLOSE)) as events, aclosing(change(events)) as changed:
        async for event in changed:
            out.write(heads.chunk(event))
            await out.drain()
    out.write(heads.TERMINATOR)
