"""Before the first prompt: which agents are there (`GET /health`), and connections that wait for it.

Both ask with slots and sockets of the tree like any other request, so that no limit is passed; nothing here counts as a
request of a caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarmpool.errors import QueueTimeout, TooManyWaiting
from swarmpool.fanout import Turns, as_finished
from swarmpool.progress import Progress

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.endpoints import AgentEndpoint
    from swarmpool.exchange import Exchange
    from swarmpool.tree import Tree

__all__ = ["Readiness", "ask_health", "prewarm", "wait_ready"]

_HEALTH_SECONDS = 5.0
_LONGEST_PAUSE = 5.0
_NOT_ASKED = "not asked yet"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `wait_ready` found: `ready` agents, in the order of the view, and the others with the last reason of each.

    `seconds` is how long it took.
    """

    ready: tuple[AgentEndpoint, ...]
    missing: tuple[tuple[AgentEndpoint, str], ...]
    seconds: float


async def ask_health(tree: Tree, agent: Agent) -> str | None:
    """What is wrong with the agent; None if its `/health` says 200. Raises what an admission raises."""
    exchange = await tree.admit(agent, _limit(tree))
    return await _health(exchange)


async def wait_ready(
    tree: Tree,
    agents: Sequence[Agent],
    *,
    timeout: float,
    minimum: int,
    interval: float,
    progress: Callable[[Progress], object] | None,
) -> Readiness:
    """Ask those that are not ready again and again, until `minimum` are or `timeout` seconds have gone by."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reasons: dict[Agent, str | None] = dict.fromkeys(agents, _NOT_ASKED)
    try:
        async with asyncio.timeout(timeout) as limit:
            while not await _round(tree, reasons, minimum, progress):
                await tree.care.pause(interval)
                tree.check_open()
                interval = min(2 * interval, max(interval, _LONGEST_PAUSE))
    except TimeoutError:
        if not limit.expired():
            raise  # a callback's own
        # what is known by now is the answer
    missing = [(agent.endpoint, reason) for agent, reason in reasons.items() if reason is not None]
    ready = [agent.endpoint for agent, reason in reasons.items() if reason is None]
    return Readiness(tuple(ready), tuple(missing), loop.time() - begun)


async def _round(
    tree: Tree, reasons: dict[Agent, str | None], minimum: int, progress: Callable[[Progress], object] | None
) -> bool:
    """Ask everybody who is not ready once; returns whether enough are."""
    asked = [agent for agent, reason in reasons.items() if reason is not None]

    async def ask(_: int, agent: Agent) -> tuple[Agent, str | None]:
        if reasons[agent] == _NOT_ASKED:
            reasons[agent] = "no answer yet"
        try:
            return agent, await ask_health(tree, agent)
        except (QueueTimeout, TooManyWaiting) as refusal:
            return agent, str(refusal)  # the pool has other things to do just now

    answers = as_finished(Turns(asked, 1, None), min(tree.options.limit, max(1, len(asked))), ask)
    ready = len(reasons) - len(asked)
    try:
        while ready < minimum and (answer := await anext(answers, None)) is not None:
            agent, reasons[agent] = answer
            ready += answer[1] is None
            if progress is not None and answer[1] is None:
                progress(Progress("ready", ready, len(reasons), 0))
    finally:
        await answers.aclose()
    return ready >= minimum


async def prewarm(tree: Tree, agents: Sequence[Agent], per_agent: int) -> int:
    """Have `per_agent` connections to each agent open, as far as the limits allow; how many answered.

    Those of one agent are asked at the same time, each over a connection of its own. Their slots are taken by one task
    of the tree at a time, agent after agent, and while slots are held that are not in use yet nobody waits for another:
    whoever has it may wait for ours, and an agent's cap may have sunk to what we hold.
    """
    options = tree.options
    each = min(per_agent, options.limit, options.concurrency_per_agent or per_agent)
    asking: list[asyncio.Task[list[str | None]]] = []
    held: list[Exchange] = []
    try:
        async with tree.warming:
            for agent in agents[: options.limit // each]:
                exchanges = [await _first_slot(tree, agent, held)]
                exchanges += _further_slots(tree, agent, held, each - 1)
                asking.append(asyncio.ensure_future(_together(exchanges)))
        answers = await asyncio.gather(*asking)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for exchange in held:
            exchange.end()  # a task that is cancelled before its first step has not
    return sum(reason is None for several in answers for reason in several)


async def _first_slot(tree: Tree, agent: Agent, held: list[Exchange]) -> Exchange:
    """An exchange with the agent, which is also among the `held` ones from the moment on that it has its slot."""
    exchange = await tree.admit(agent, _limit(tree))
    held.append(exchange)
    return exchange


def _further_slots(tree: Tree, agent: Agent, held: list[Exchange], wanted: int) -> list[Exchange]:
    """As many more as are free now."""
    taken: list[Exchange] = []
    while len(taken) < wanted and (exchange := tree.admit_nowait(agent, _limit(tree))) is not None:
        taken.append(exchange)
        held.append(exchange)
    return taken


async def _together(exchanges: Sequence[Exchange]) -> list[str | None]:
    try:
        return await asyncio.gather(*map(_health, exchanges))
    finally:
        for exchange in exchanges:
            exchange.end()


async def _health(exchange: Exchange) -> str | None:
    try:
        outcome = await exchange.fetch("GET", "/health", None)
    finally:
        exchange.end()
    if outcome.failure is not None:
        return f"{outcome.failure.kind}: {outcome.failure.message}"
    return None if outcome.status == 200 else f"status {outcome.status}"


def _limit(tree: Tree) -> float:
    timeout = tree.options.timeout
    return _HEALTH_SECONDS if timeout is None else min(timeout, _HEALTH_SECONDS)
