"""`Sender`: a view that can send: one request once, or as often as the pool's care for failing agents has it sent.

What differs between the dialects of agents (path, body, answers) are the methods that a subclass overrides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swarmpool.delivery import Delivery, Once, Try, of_all
from swarmpool.formats import Delta, Reply, encode, generate_body, read_generate, read_generate_delta
from swarmpool.observing import ObservedCall, observed
from swarmpool.options import count_or_none, text
from swarmpool.responses import Response
from swarmpool.results import judge, result
from swarmpool.route import Route
from swarmpool.views import View

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.exchange import Exchange, Outcome
    from swarmpool.routing import Key

__all__ = ["Messages", "Sender"]

Messages = Sequence[Mapping[str, Any]]


class Sender(View):
    """A view with what its calls are made of."""

    _operation = "text_completion"
    """What OpenTelemetry calls what its agents are asked for: a `gen_ai.operation.name`."""

    # ------------------------------------------------------------------- what a subclass with another dialect overrides

    def _compose_now(
        self, prompt: str | None, max_tokens: int | None, messages: Messages | None, sampling: Mapping[str, Any]
    ) -> tuple[str, bytes] | None:
        """Path and body of the request; None if the agent has to be asked first, as `_compose` does."""
        if messages is not None:
            raise TypeError("messages need a chat: AgentPool's agents take one prompt; use VLLMPool")
        return "/generate", encode(
            generate_body(text("prompt", prompt), count_or_none("max_tokens", max_tokens, at_least=0), sampling)
        )

    async def _compose(
        self,
        agent: Agent,  # noqa: ARG002 - a dialect may have to ask the agent first
        agent_index: int,  # noqa: ARG002 - and then says whose answer it was
        prompt: str | None,
        max_tokens: int | None,
        messages: Messages | None,
        sampling: Mapping[str, Any],
    ) -> tuple[str, bytes] | Response:
        """Path and body of the request; a `Response` if what they need could not be had."""
        composed = self._compose_now(prompt, max_tokens, messages, sampling)
        assert composed is not None
        return composed

    def _stream_sampling(self, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        """`sampling` of a request whose answer is to be a stream."""
        return {**sampling, "stream": True}

    @property
    def _model_asked(self) -> str | None:
        """The model that requests name; None where it is the servers' own."""
        return None

    def _read_whole(self, body: bytes) -> Reply:
        """The reply in the body of a 2xx answer; raises `ShapeError`."""
        return read_generate(body)

    def _read_event(self, data: bytes) -> Delta:
        """What one event of a stream adds; raises `ShapeError` and `ErrorEvent`."""
        return read_generate_delta(data)

    # ---------------------------------------------------------------------------------------------- sending

    def _sender(
        self, prompt: str | None, max_tokens: int | None, messages: Messages | None, sampling: Mapping[str, Any]
    ) -> Once:
        """What sends the request once, to the agent at a place of this view."""

        async def once(place: int, attempt: Try) -> list[Response]:
            agent = self._agents[place]
            return [await self._send(agent, place, prompt, max_tokens, messages, sampling, attempt)]

        return once

    async def _send(
        self,
        agent: Agent,
        agent_index: int,
        prompt: str | None,
        max_tokens: int | None,
        messages: Messages | None,
        sampling: Mapping[str, Any],
        attempt: Try | None = None,
    ) -> Response:
        """One prompt to one agent, once, and not counted."""
        composed = self._compose_now(prompt, max_tokens, messages, sampling)
        if composed is None:
            found = await self._compose(agent, agent_index, prompt, max_tokens, messages, sampling)
            if isinstance(found, Response):
                return found
            composed = found
        path, body = composed
        exchange, outcome = await self._exchange(agent, path, body, self.timeout, attempt)
        reply, failure = judge(outcome, self._read_whole)
        response = result(
            agent_index,
            exchange,
            text=reply.text,
            status=outcome.status,
            failure=failure,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            retry_after=outcome.retry_after,
        )
        if reply.tool_calls is not None:
            response.tool_calls = reply.tool_calls
        if reply.logprobs is not None:
            response.logprobs = reply.logprobs
        return response

    def _route(self, place: int | None, *, movable: bool, key: Key | None = None) -> Route:
        return Route(self._tree, self._agents, place=place, movable=movable, key=key)

    @property
    def _movable(self) -> bool:
        """Whether a prompt among many may go to another agent than the one whose turn it is."""
        care = self._tree.care
        return care.moves or care.follows_policy or care.hedging is not None

    def _call(self, operation: str | None = None) -> ObservedCall | None:
        """A call begins; None if nobody is to be told."""
        observer = self._tree.observer
        return None if observer is None else observer.call(operation or self._operation, self._model_asked)

    async def _deliver(
        self,
        send: Once,
        place: int | None,
        *,
        movable: bool = True,
        key: Key | None = None,
        operation: str | None = None,
    ) -> list[Response]:
        """The results of a request that may take several tries; counted once."""
        self._tree.check_open()
        delivery = Delivery(self._tree, self._route(place, movable=movable, key=key), send)
        call = self._call(operation)
        results = await (delivery.run() if call is None else observed(call, delivery.run()))
        self._tree.counts.count(of_all(results).kind)
        return results

    async def _exchange(
        self, agent: Agent, path: str, body: bytes | None, timeout: float | None, attempt: Try | None = None
    ) -> tuple[Exchange, Outcome]:
        tree = self._tree
        exchange = tree.admit_nowait(agent, timeout) or await tree.admit(agent, timeout)
        if attempt is not None:
            attempt.exchange = exchange
        try:
            outcome = await exchange.fetch("POST", path, body)
        except asyncio.CancelledError:
            if attempt is None:
                tree.counts.cancelled += 1
            raise
        finally:
            exchange.end()
        return exchange, outcome
