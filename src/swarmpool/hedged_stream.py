"""A stream that a second agent may answer as well, if the first takes long to say its first word.

Theory of operation
-------------------
Until the first text this is a race of two streams, each read by a task of its own; the first with text wins and is
*the* stream from then on. The other is cancelled and waited for, so that its slot and its socket are back before
anybody sees the first chunk. A stream that fails before its text does not lose: the other may still win.

Who is counted: one request. Neither stream counts its result while they race (`StreamTries.racing`); the winner does
from then on, or here if it has ended already. The loser is told of in the winner's `Response.earlier`.

Only the race has tasks. Cancelled, it ends both; dropped later, the winner ends itself as any stream does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarmpool.delivery import attempt_of, lost
from swarmpool.events import PoolEventKind
from swarmpool.responses import FailureKind, Response, StreamChunk
from swarmpool.stream import Stream

if TYPE_CHECKING:
    from swarmpool.responses import Attempt
    from swarmpool.streaming import AgentStream
    from swarmpool.tree import Tree

__all__ = ["HedgedStream"]


class HedgedStream(Stream):
    """`first`, and what `rival` makes if that has no text after the delay that the tree's latencies say."""

    def __init__(self, tree: Tree, first: AgentStream, rival: Callable[[], AgentStream | None]) -> None:
        self._tree = tree
        self._first = first
        self._rival = rival
        self._winner: AgentStream | None = None
        self._reading = False
        self._over = False
        first.tries.racing = True

    @property
    def response(self) -> Response | None:
        """The result, once there is one."""
        return None if self._winner is None else self._winner.response

    @property
    def text(self) -> str:
        """What has come so far."""
        return "" if self._winner is None else self._winner.text

    async def __anext__(self) -> StreamChunk:
        """The next chunk; StopAsyncIteration after the one with the `response`."""
        if self._reading:
            raise RuntimeError("another task is reading this stream")
        if self._over:
            raise StopAsyncIteration
        if self._winner is not None:
            return self._heard(await anext(self._winner))
        self._reading = True
        try:
            return self._heard(await self._race())
        finally:
            self._reading = False
            self._over = self._winner is None  # it was cancelled, or refused

    async def aclose(self) -> None:
        """Leave the stream, as `Stream` says."""
        if self._reading:
            raise RuntimeError("another task is reading this stream: cancel that task to end it")
        self._over = self._winner is None
        if self._winner is not None:
            await self._winner.aclose()

    def _heard(self, chunk: StreamChunk) -> StreamChunk:
        hedging, response = self._tree.care.stream_hedging, chunk.response
        if hedging is not None and response is not None and response.success:
            hedging.answered(response.first_token_seconds or response.wire_seconds)
        return chunk

    async def _race(self) -> StreamChunk:
        hedging = self._tree.care.stream_hedging
        assert hedging is not None
        streams = [self._first]
        runners = [asyncio.ensure_future(anext(self._first))]
        try:
            await asyncio.wait(runners, timeout=(delay := hedging.begun()))
            second = None if runners[0].done() else self._rival()
            if second is not None:
                second.tries.racing = True
                second.tries.hedged_after = delay
                streams.append(second)
                runners.append(asyncio.ensure_future(anext(second)))
            winner = await _first_with_text(runners)
            await _end(runners, streams, but=winner)
            return self._adopt(streams, runners, winner)
        except BaseException as error:
            await self._abandon(runners, streams)
            self._first.tries.nobody_won(error)
            raise

    async def _abandon(self, runners: list[asyncio.Task[StreamChunk]], streams: list[AgentStream]) -> None:
        """The reader is cancelled, or refused: end both, and count the one request if any of it was sent."""
        if any(stream.tries.sent for stream in streams):
            self._tree.counts.count(FailureKind.ABANDONED)
        await _end(runners, streams)
        if self._first.response is not None:
            self._winner = self._first  # which has ended, and says so

    def _adopt(self, streams: list[AgentStream], runners: list[asyncio.Task[StreamChunk]], winner: int) -> StreamChunk:
        """The winner is the stream; raises what its read raised."""
        chunk = runners[winner].result()
        stream = streams[winner]
        others = [_told_of(other) for number, other in enumerate(streams) if number != winner]
        stream.tries.wins([attempt for attempt in others if attempt is not None])
        self._winner = stream
        if winner == 1 and _is_good(runners[winner]):
            stream.tries.note_about(PoolEventKind.HEDGE_WON)
        return chunk


async def _end(runners: list[asyncio.Task[StreamChunk]], streams: list[AgentStream], *, but: int | None = None) -> None:
    """End the streams but one, and wait for it. Cancelling the wait leaves none of them open."""
    losers = [number for number in range(len(streams)) if number != but]
    for number in losers:
        if runners[number].done():
            await streams[number].aclose()  # it has a chunk that nobody will see
        runners[number].cancel()
    await asyncio.gather(*[runners[number] for number in losers], return_exceptions=True)
    for number in losers:
        await streams[number].aclose()  # which had its chunk in the very turn it was cancelled


async def _first_with_text(runners: list[asyncio.Task[StreamChunk]]) -> int:
    """The number of the first runner with a good chunk; where none has one, of one that has a failure to tell."""
    left = set(runners)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for number, runner in enumerate(runners):
            if runner in done and _is_good(runner):
                return number
    return max(range(len(runners)), key=lambda number: (runners[number].exception() is None, -number))


def _is_good(runner: asyncio.Task[StreamChunk]) -> bool:
    if runner.cancelled() or runner.exception() is not None:
        return False
    response = runner.result().response
    return response is None or response.success


def _told_of(loser: AgentStream) -> Attempt | None:
    """What the winner's response says of it; None if it was never sent."""
    response = loser.response
    if response is not None and response.kind is not FailureKind.ABANDONED:
        return attempt_of(response, 0.0)
    return None if loser.exchange is None else lost(loser.exchange)
