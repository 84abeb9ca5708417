"""Callers of the pool: each a task that asks, and keeps what it is told."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from hunt.kinds import vector
from hunt.steps import Ask, AskMany, Await, Batch, CallStep, Embed, Stream, Talk, Warm
from hunt.world import Call, Prompt, World
from swarmpool import AdmissionError, ConnectFailed, EmbeddingPool, EmbeddingResponse, MisuseError

__all__ = ["LIMIT_OF_A_TALK", "call"]

LIMIT_OF_A_TALK = 30.0
"""Seconds that a caller waits for a websocket, and for each message on it."""

WIRE_ERRORS = (OSError, EOFError, aiohttp.ClientError, aiohttp.WSMessageTypeError)
"""What may come out of a websocket that is in use."""

Asking = Callable[[World, Any, Call, Any], Coroutine[Any, Any, None]]


def call(step: CallStep, world: World) -> None:
    """Start a caller."""
    view = world.views.get(step.view, world.pool)
    sort, asking = _ASKING[type(step)]
    if sort in world.kind.lacks or (isinstance(step, AskMany) and step.how in world.kind.lacks):
        return
    asked = Call(step.call, sort, frozenset(), [], world.now(), is_anybodys=_is_anybodys(world, step))
    _give_prompts(world, step, view, asked)
    world.calls[step.call] = asked
    asked.task = asyncio.ensure_future(_caller(world, step, asked, view, asking))
    world.by_task[asked.task] = asked


def ask(world: World, number: int, agent: int, tokens: int) -> Call:
    """Start a caller with one prompt to an agent of the whole pool."""
    call(Ask(call=number, agent=agent, tokens=tokens), world)
    return world.calls[number]


async def _caller(world: World, step: CallStep, asked: Call, view: Any, asking: Asking) -> None:
    world.happens("called", asked)
    try:
        await asking(world, step, asked, view)
    except asyncio.CancelledError as error:
        asked.raised = error
        raise
    except (AdmissionError, MisuseError, ConnectFailed, *WIRE_ERRORS) as error:
        asked.raised = error
    finally:
        asked.ended_at = world.now()
        world.happens("ended", asked)


def _is_anybodys(world: World, step: CallStep) -> bool:
    return (isinstance(step, (Ask, Stream)) and step.anybody) or (
        isinstance(step, (AskMany, Embed)) and world.setup.cares
    )


def _give_prompts(world: World, step: CallStep, view: Any, asked: Call) -> None:
    agents = [_tree_index(world, endpoint) for endpoint in view.endpoints]
    own = agents[step.agent % len(agents)]
    if isinstance(step, Embed):
        asked.is_one_request = False
        asked.prompts = [_text(world, step, index, agents[index % len(agents)]) for index in range(step.texts)]
    elif isinstance(step, (Batch, AskMany)):
        spread = agents if isinstance(step, AskMany) else [own]
        in_batch = isinstance(step, Batch) or step.how == "send_all_batched"
        asked.is_one_request = step.prompts == 1 or (isinstance(step, Batch) and world.kind.batches)
        asked.prompts = [
            _prompt(world, step, index, spread[index % len(spread)], in_batch=in_batch) for index in range(step.prompts)
        ]
    elif not isinstance(step, (Talk, Warm, Await)):
        asked.prompts = [_prompt(world, step, 0, own)]
    if isinstance(step, (Warm, Await)):
        asked.agents = frozenset(agents)
        return
    asked.agents = frozenset([own, *(each.agent for each in asked.prompts)]) if asked.prompts else frozenset([own])
    world.by_nonce.update((each.nonce, (asked, each)) for each in asked.prompts)


def _prompt(world: World, step: CallStep, index: int, agent: int, *, in_batch: bool = False) -> Prompt:
    nonce = f"n{step.call}.{index}"
    text = f"Tell me of {nonce}!" + "." * (step.padding if isinstance(step, Ask) else 0)
    return Prompt(nonce, text, agent, world.kind.answer(world.fleet.seed, text, step.tokens, in_batch=in_batch))


def _text(world: World, step: Embed, index: int, agent: int) -> Prompt:
    nonce = f"n{step.call}.{index}"
    return Prompt(nonce, nonce, agent, vector(world.fleet.seed, nonce))


def _tree_index(world: World, endpoint: Any) -> int:
    return next(index for index, each in enumerate(world.fleet.endpoints) if each.port == endpoint.port)


# ------------------------------------------------------------------------------------------------- sorts of callers


async def _ask(world: World, step: Ask, asked: Call, view: Any) -> None:
    place = None if step.anybody else step.agent % view.size
    asked.results.append(await view.post(place, asked.prompts[0].text, step.tokens))


async def _stream(world: World, step: Stream, asked: Call, view: Any) -> None:
    asked.limit, asked.pause, asked.watches_gaps = step.limit, step.pause, step.idle_timeout is not None
    stream = asked.stream = view.stream(
        None if step.anybody else step.agent % view.size,
        asked.prompts[0].text,
        step.tokens,
        timeout=step.limit,
        idle_timeout=step.idle_timeout,
    )
    seen = 0
    try:
        async for chunk in stream:
            seen += 1
            if seen == step.leave_after and chunk.response is None:
                asked.left = True
                break
            await asyncio.sleep(step.pause)
        if not asked.left or step.how == "break":
            await stream.aclose()
            asked.results.append(stream.response)
    finally:
        if step.how == "break":
            await stream.aclose()
        asked.stream = None
        del stream  # a cancelled task keeps its frames


async def _batch(world: World, step: Batch, asked: Call, view: Any) -> None:
    texts = [each.text for each in asked.prompts]
    asked.results.extend(await view.post_batch(step.agent % view.size, texts, step.tokens))


async def _ask_many(world: World, step: AskMany, asked: Call, view: Any) -> None:
    texts = [each.text for each in asked.prompts]
    if step.how == "stream_all":
        await _ask_for_each(step, asked, view.stream_all(texts, step.tokens))
    else:
        asked.results.extend(await getattr(view, step.how)(texts, step.tokens))


async def _ask_for_each(step: AskMany, asked: Call, finished: Any) -> None:
    try:
        async for response in finished:
            asked.results.append(response)
            if len(asked.results) == step.leave_after:
                asked.left = True
                break
    finally:
        await finished.aclose()


async def _talk(world: World, step: Talk, asked: Call, view: Any) -> None:
    sockets = world.websockets(view, step.agent % view.size, min(asked.agents))
    async with sockets.connection(timeout=LIMIT_OF_A_TALK) as websocket:
        for number in range(step.messages):
            said = f"n{step.call}.{number}"
            await websocket.send_str(said)
            heard = await websocket.receive_str(timeout=LIMIT_OF_A_TALK)
            asked.results.append((said, heard))
            await asyncio.sleep(step.pause)


async def _embed(world: World, step: Embed, asked: Call, view: Any) -> None:
    embedding = EmbeddingPool.over(view, batch_size=2)
    for told in await embedding.embed_all([each.text for each in asked.prompts]):
        values = [] if told.embedding is None else told.embedding
        asked.results.append(_Vector(told, struct.pack(f"<{len(values)}f", *values).hex(), told.text_index))


class _Vector:
    """An `EmbeddingResponse`, read as if its vector were text."""

    def __init__(self, told: EmbeddingResponse, text: str, prompt_index: int | None) -> None:
        self._told, self.text, self.prompt_index = told, text, prompt_index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._told, name)

    def __repr__(self) -> str:
        return repr(self._told)


async def _warm(world: World, step: Warm, asked: Call, view: Any) -> None:
    asked.results.append(await view.prewarm(step.per_agent))


async def _await(world: World, step: Await, asked: Call, view: Any) -> None:
    asked.results.append(await view.wait_ready(step.seconds))


_ASKING: dict[type[CallStep], tuple[str, Asking]] = {
    Ask: ("post", _ask),
    Stream: ("stream", _stream),
    Batch: ("post_batch", _batch),
    AskMany: ("send_all", _ask_many),
    Talk: ("websockets", _talk),
    Embed: ("embed", _embed),
    Warm: ("prewarm", _warm),
    Await: ("wait_ready", _await),
}
