"""Which model the agents serve and how long its context is: asked once per tree, however many ask first.

The first caller starts the one request, as a task of the tree, and everybody waits for it; a caller that is cancelled
takes nobody's answer away. If it fails, each caller asks its own agent (again one request per agent, however many
callers), so that one dead agent does not speak for the tree. A failure is remembered for `_FAILURE_SECONDS`; that there
was no slot to ask with is no fault of the agent's, and not remembered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarmpool.errors import AdmissionError, PoolClosed
from swarmpool.exchange import WireFailure
from swarmpool.failures import message_of
from swarmpool.formats import ModelCard, ShapeError, read_models
from swarmpool.responses import FailureKind

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.tree import Tree

__all__ = ["Metadata", "Unknown"]

_FAILURE_SECONDS = 2.0
_FETCH_SECONDS = 10.0
_ANY = ""  # the key of the tree's first request, whichever agent it asks


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is known, because of `reason`, which is remembered until the loop's time is `until`."""

    reason: WireFailure | AdmissionError | PoolClosed
    until: float


class Metadata:
    """What `/v1/models` of a tree's agents says."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._card: ModelCard | None = None
        self._failed: dict[str, Unknown] = {}
        self._flights: dict[str, asyncio.Task[ModelCard | Unknown]] = {}

    async def ask(self, agent: Agent) -> ModelCard | Unknown:
        """The tree's model card, or why it is not known. Never raises for what happens on the wire or in the queue.

        Cancelling it leaves the request to the others who wait for it. Concurrent calls share one request.
        """
        if self._card is None and not self._failed:
            answer = await self._share(_ANY, agent)
            if not self._failed:  # known, or refused a slot
                return answer
        if self._card is None:
            failed = self._failed.get(agent.key)
            if failed is not None and asyncio.get_running_loop().time() < failed.until:
                return failed
            return await self._share(agent.key, agent)
        return self._card

    async def _share(self, key: str, agent: Agent) -> ModelCard | Unknown:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._tree.start(self._fetch(agent))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _fetch(self, agent: Agent) -> ModelCard | Unknown:
        loop = asyncio.get_running_loop()
        try:
            self._card = await self._get(agent)
        except WireFailure as reason:
            self._failed[agent.key] = failed = Unknown(reason, loop.time() + _FAILURE_SECONDS)
            return failed
        except (AdmissionError, PoolClosed) as reason:
            return Unknown(reason, loop.time())
        self._failed.clear()
        return self._card

    async def _get(self, agent: Agent) -> ModelCard:
        limit = self._tree.options.timeout
        exchange = await self._tree.admit(agent, _FETCH_SECONDS if limit is None else min(limit, _FETCH_SECONDS))
        try:
            outcome = await exchange.fetch("GET", "/v1/models", None)
        finally:
            exchange.end()
        if outcome.failure is not None:
            raise outcome.failure
        if outcome.status != 200:
            message = f"status {outcome.status}: {message_of(outcome.body)}"
            raise WireFailure(FailureKind.STATUS, message)
        try:
            return read_models(outcome.body)
        except ShapeError as error:
            raise WireFailure(FailureKind.SHAPE, str(error)) from error
