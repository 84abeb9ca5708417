"""The fleet's answers, with an eye on which prompts come in and how long a server is busy with them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from http import HTTPStatus
from random import Random

import msgspec

from fleetsim.api import make_app
from fleetsim.engine import Halt
from fleetsim.exchange import Answer, ApiRequest, EventStream, Reply, Steered, Unary, WebSocket
from fleetsim.profile import Profile
from hunt.kinds import DIMENSIONS
from hunt.world import Call, Prompt, Request, World

__all__ = ["PROFILE", "answers_told_to"]

PROFILE = Profile(ttft=0.05, itl=0.01, output_tokens=8, max_model_len=1_000_000, embedding_dimensions=DIMENSIONS)

_REFUSALS = (400, 413, 422, 429, 503)
_NONCE = re.compile(rb"n\d+\.\d+")


def answers_told_to(worlds: list[World], seed: int) -> Callable[[int], Answer]:
    """What a Fleet is made with: vLLM's routes, and the one world that will be in the list is told of each request."""

    def make(index: int) -> Answer:
        app = make_app(PROFILE, seed=seed, index=index, in_flight=lambda: 0)
        return _Told(worlds, index, app, Random(f"order of choices {seed} {index}"))

    return make


class _Told:
    """An `Answer`, and `Steered`."""

    def __init__(self, worlds: list[World], index: int, app: Answer, chance: Random) -> None:
        self._worlds, self._index, self._app, self._chance = worlds, index, app, chance

    async def __call__(self, request: ApiRequest) -> Reply | WebSocket:
        world = self._worlds[0]
        prompts = _prompts_in(world, request.body)
        calls = list(dict.fromkeys(call for call, _ in prompts))
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
        if isinstance(reply, Unary) and reply.status in _REFUSALS:
            for _, prompt in prompts:
                prompt.refused += 1
        for call in calls:
            world.happens("answered", call)
        if isinstance(reply, Unary):
            reply = self._in_any_order(request.path, reply)
        if isinstance(reply, EventStream):
            return EventStream(_events(world, at_work, reply.events))
        return reply

    def _in_any_order(self, path: str, reply: Unary) -> Unary:
        """vLLM may send the choices of a batch in any order: `index` says whose each is."""
        if path != "/v1/completions" or reply.status != HTTPStatus.OK:
            return reply
        told = json.loads(reply.body)
        self._chance.shuffle(told["choices"])
        return msgspec.structs.replace(reply, body=json.dumps(told).encode())

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


def _prompts_in(world: World, body: bytes) -> list[tuple[Call, Prompt]]:
    """The prompts in it, and whose they are. They are counted as arrived."""
    nonces = dict.fromkeys(_NONCE.findall(body))
    found = [world.by_nonce[nonce.decode()] for nonce in nonces if nonce.decode() in world.by_nonce]
    for _, prompt in found:
        prompt.arrived += 1
    return found
