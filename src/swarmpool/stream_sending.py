"""`StreamSender`: what makes the streams of a view, with their tries and their hedges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from swarmpool.hedged_stream import HedgedStream
from swarmpool.options import seconds, seconds_or_none
from swarmpool.responses import Response
from swarmpool.results import result
from swarmpool.sending import Messages, Sender
from swarmpool.stream_tries import Begun, StreamTries
from swarmpool.streaming import AgentStream, StreamPlan

if TYPE_CHECKING:
    from swarmpool.routing import Key
    from swarmpool.stream import Stream

__all__ = ["StreamSender"]


class StreamSender(Sender):
    """A view that can stream."""

    def _stream(
        self,
        place: int | None,
        prompt: str | None,
        max_tokens: int | None,
        *,
        movable: bool,
        messages: Messages | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        key: Key | None = None,
        **sampling: Any,
    ) -> Stream:
        """`stream`; with `movable` a `place` is only where it begins."""
        limit = self.timeout if timeout is None else seconds("timeout", timeout)
        idle = seconds_or_none("idle_timeout", idle_timeout)

        async def begin(place: int) -> Begun | Response:
            agent = self._agents[place]
            request = self._stream_sampling(sampling)
            composed = await self._compose(agent, place, prompt, max_tokens, messages, request)
            return composed if isinstance(composed, Response) else (await self._tree.admit(agent, limit), composed)

        def reader(tries: StreamTries) -> AgentStream:
            return AgentStream(
                StreamPlan(
                    tries=tries,
                    read_event=self._read_event,
                    read_whole=self._read_whole,
                    result=lambda exchange, **facts: result(tries.place, exchange, **facts),
                    idle_timeout=idle,
                )
            )

        route = partial(self._route, place, movable=movable, key=key)
        tries = StreamTries(self._tree, route, begin, self._call)
        if not movable or self._tree.care.stream_hedging is None:
            return reader(tries)
        return HedgedStream(self._tree, reader(tries), partial(self._rival, tries, begin, reader))

    def _rival(
        self,
        tries: StreamTries,
        begin: Callable[[int], Awaitable[Begun | Response]],
        reader: Callable[[StreamTries], AgentStream],
    ) -> AgentStream | None:
        """A second stream for a request that takes long, if there may be one now."""
        limiter, hedging = self._tree.limiter, self._tree.care.stream_hedging
        if limiter.locked() or limiter.waiting:
            return None
        other = tries.rival(begin)
        return None if other is None or hedging is None or not hedging.take() else reader(other)
