"""What a user of the pool does, as plain coroutines: they run under locust, and without it (`python -m loadtests.run`).

A scenario is `async def run(pool)`: it sends something and returns the responses. Those here are made with the traffic
they draw their prompts from and the figures they tell about the gaps in their streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientWebSocketResponse,
    WSMsgType,
    WSServerHandshakeError,
)

from loadtests.figures import Figures
from loadtests.traffic import Traffic
from swarmpool import AgentUnavailable, ConnectFailed, FailureKind, Response, VLLMPool

__all__ = [
    "SCENARIOS",
    "Maker",
    "Scenario",
    "as_responses",
    "batch",
    "scatter_gather",
    "stream",
    "timed",
    "unary",
    "websocket",
]

Scenario = Callable[[VLLMPool], Awaitable[Any]]
"""Returns a `Response`, or several; what else it may return is not counted."""

Maker = Callable[[Traffic, Figures], Scenario]

_BATCH = 16
_PARTS = 8
_MESSAGES = 8


def unary(traffic: Traffic, figures: Figures) -> Scenario:  # noqa: ARG001 - all makers are called alike
    """One question to one agent, answered as a whole."""

    async def run(pool: VLLMPool) -> Response:
        return await _posted(pool, traffic.agent(pool.endpoints), traffic.prompt())

    return run


def stream(traffic: Traffic, figures: Figures) -> Scenario:
    """One question to one agent, read piece by piece."""

    async def run(pool: VLLMPool) -> Response | None:
        answer = pool.stream(traffic.agent(pool.endpoints), traffic.prompt())
        pieces = 0
        try:
            async for chunk in answer:
                if chunk.response is None:
                    if pieces:  # the first one's is the time to first token
                        figures.gap(chunk.gap_seconds)
                    pieces += 1
        except AgentUnavailable as error:
            return _left_alone(error)
        return answer.response

    return run


def batch(traffic: Traffic, figures: Figures) -> Scenario:  # noqa: ARG001 - all makers are called alike
    """Sixteen prompts to one agent in one request."""

    async def run(pool: VLLMPool) -> list[Response]:
        try:
            return await pool.post_batch(traffic.agent(pool.endpoints), traffic.prompts(_BATCH))
        except AgentUnavailable as error:
            return [_left_alone(error) for _ in range(_BATCH)]

    return run


def scatter_gather(traffic: Traffic, figures: Figures) -> Scenario:  # noqa: ARG001 - all makers are called alike
    """Questions to each agent of a sub-pool of up to eight, and one more about their answers to one of them."""

    async def run(pool: VLLMPool) -> list[Response]:
        part = pool.sample(_PARTS, seed=traffic.chance.getrandbits(32))
        answers = await part.send_all(traffic.prompts(part.size))
        merged = "\n".join(answer.text for answer in answers if answer.success)
        return [*answers, await _posted(part, 0, f"Sum up:\n{merged}", pool.max_tokens_aggregation)]

    return run


async def _posted(pool: VLLMPool, agent: int, prompt: str, max_tokens: int | None = None) -> Response:
    """`pool.post`, but that a call to an agent that is left alone is a failed response as well."""
    try:
        return await pool.post(agent, prompt, max_tokens)
    except AgentUnavailable as error:
        return _left_alone(error)


def _left_alone(error: AgentUnavailable) -> Response:
    return Response(False, "", str(error), kind=FailureKind.UNAVAILABLE)


def websocket(traffic: Traffic, figures: Figures) -> Scenario:
    """Eight messages to one agent on a websocket, each echoed before the next.

    One `Response` for all of them, with no attempts: dials are for the pool of websockets to count.
    """

    async def run(pool: VLLMPool) -> Response:
        agent = traffic.agent(pool.endpoints)
        websockets = pool.websockets(agent, "/echo", on_event=figures.websocket)
        clock, kind = asyncio.get_running_loop().time, None
        asked = began = clock()
        try:
            async with websockets.connection() as connection:
                began = clock()
                for text in traffic.prompts(_MESSAGES):
                    await _echo(connection, text, figures)
        except (ConnectFailed, ClientConnectionError, WSServerHandshakeError) as error:
            kind = _kind(error)
        queue, wire = began - asked, clock() - began
        return Response(kind is None, "", kind=kind, agent_index=agent, queue_seconds=queue, wire_seconds=wire)

    return run


async def _echo(connection: ClientWebSocketResponse, text: str, figures: Figures) -> None:
    """Send `text` and wait for it. Raises ClientConnectionError where the websocket ends instead."""
    answered = False
    try:
        await connection.send_str(text)
        answer = await connection.receive()
        answered = answer.type is WSMsgType.TEXT and answer.data == text
        if not answered:
            raise ClientConnectionError(f"expected an echo, got {answer.type.name}")
    finally:
        figures.message(answered=answered)


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, WSServerHandshakeError):
        return FailureKind.STATUS
    refused = isinstance(error, ConnectFailed | ClientConnectorError)
    return FailureKind.CONNECT if refused else FailureKind.DISCONNECTED


SCENARIOS: dict[str, Maker] = {
    "unary": unary,
    "stream": stream,
    "batch": batch,
    "scatter-gather": scatter_gather,
    "websocket": websocket,
}


async def timed(name: str, run: Scenario, pool: VLLMPool, figures: Figures) -> tuple[float, list[Response]]:
    """Run it once and record it; return the seconds it took and its responses.

    What it raises is raised, and not recorded. Cancelling it cancels the scenario. May be called any number of times at
    once.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    responses = as_responses(await run(pool))
    seconds = loop.time() - started
    figures.record(name, seconds, responses)
    return seconds, responses


def as_responses(returned: object) -> list[Response]:
    """The responses among what a scenario returned: one, or a sequence of them."""
    if isinstance(returned, Response):
        return [returned]
    if isinstance(returned, Sequence):
        return [each for each in returned if isinstance(each, Response)]
    return []
