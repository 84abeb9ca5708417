"""Endings that only the laboratory needs, and that are in no catalogue: what they show takes an order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Framing, Outgoing

__all__ = ["EagerChunks", "InTurn", "Unsolicited"]


class EagerChunks(Ending):
    """The whole response in one write, in chunks, the last chunk included."""

    name = "eager_chunks"

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        head = out.head(reply, Framing.CHUNKED)
        body = [piece async for piece in out.pieces(reply, Framing.CHUNKED)]
        out.write(b"".join([head, *body, out.terminator]))


class InTurn(Ending):
    """The first request gets the first of `endings`, the second the second, and those after the last get the last."""

    name = "in_turn"
    _left: list[Ending]

    def __init__(self, endings: Sequence[Ending]) -> None:
        object.__setattr__(self, "_left", list(endings))  # an Ending is frozen

    async def send(self, out: Outgoing) -> None:
        ending = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        await ending.send(out)


class Unsolicited(Ending):
    """A whole response; and once `go` is set, on the same connection, all of `surplus`, which nobody asked for."""

    name = "unsolicited"
    _go: asyncio.Event
    _surplus: bytes

    def __init__(self, go: asyncio.Event, surplus: bytes) -> None:
        object.__setattr__(self, "_go", go)
        object.__setattr__(self, "_surplus", surplus)

    async def send(self, out: Outgoing) -> None:
        reply = await out.reply()
        out.write(b"".join([out.head(reply), *[piece async for piece in out.pieces(reply)]]))
        await self._go.wait()
        out.write(self._surplus)
