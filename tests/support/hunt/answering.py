"""The fleet's answers, with an eye on which prompts come in and how long a server is busy with them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from fleetsim.api import make_app
from fleetsim.engine import Halt
from fleetsim.exchange import Answer, ApiRequest, EventStream, Reply, Steered, WebSocket
from fleetsim.profile import Profile
from hunt.world import Call, Request, World

__all__ = ["PROFILE", "answers_told_to"]

PROFILE = Profile(ttft=0.05, itl=0.01, output_tokens=8)

_NONCE = re.compile(rb"n\d+\.\d+")


def answers_told_to(worlds: list[World], seed: int) -> Callable[[int], Answer]:
    """What a Fleet is made with: vLLM's routes, and the one world that will be in the list is told of each request."""

    def make(index: int) -> Answer:
        return _Told(worlds, index, make_app(PROFILE, seed=seed, index=index, in_flight=lambda: 0))

    return make


class _Told:
    """An `Answer`, and `Steered`."""

    def __init__(self, worlds: list[World], index: int, app: Answer) -> None:
        self._worlds, self._index, self._app = worlds, index, app

    async def __call__(self, request: ApiRequest) -> Reply | WebSocket:
        world = self._worlds[0]
        calls = _calls_in(world, request.body)
        at_work = [Request(call, self._index) for call in calls]
        world.at_work.update(at_work)
        for call in calls:
            world.happens("arrived", call)
        streaming = False
        try:
            reply = await self._app(request)
            streaming = isinstance(reply, EventStream)
        finally:
            if not streaming:
                world.at_work.difference_update(at_work)
        for call in calls:
            world.happens("answered", call)
        if isinstance(reply, EventStream):
            return EventStream(_events(world, at_work, reply.events))
        return reply

    def steer(self, *, pace: float, halt: Halt | None) -> None:
        """See `Steered.steer`."""
        assert isinstance(self._app, Steered)
        self._app.steer(pace=pace, halt=halt)


async def _events(world: World, at_work: list[Request], events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield event
    finally:
        world.at_work.difference_update(at_work)
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _calls_in(world: World, body: bytes) -> list[Call]:
    """The calls whose prompts are in it, each once."""
    calls: dict[Call, None] = {}
    for nonce in _NONCE.findall(body):
        found = world.by_nonce.get(nonce.decode())
        if found is not None:
            found[1].arrived += 1
            calls[found[0]] = None
    return list(calls)
