"""`AgentPool`: a view of a tree, and the calls that send.

A view is a tuple of agents and a reference to the tree that all views share; there is nothing else to copy, forget or
close. The pool that was constructed is the root, and only the root opens and closes.
"""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from swarmpool.endpoints import as_endpoint
from swarmpool.errors import BadIndex, EmptyPool
from swarmpool.fanout import Turns, as_finished, in_order
from swarmpool.formats import Delta, Reply, encode, generate_body, read_generate, read_generate_delta
from swarmpool.options import PoolOptions, count, count_or_none, seconds, seconds_or_none, text
from swarmpool.responses import Response
from swarmpool.results import REFUSALS, judge, refused, result
from swarmpool.streaming import Stream, StreamPlan
from swarmpool.tree import Tree

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from swarmpool.agents import Agent
    from swarmpool.endpoints import AgentEndpoint, Located
    from swarmpool.exchange import Exchange, Outcome
    from swarmpool.limiter import Limiter
    from swarmpool.statistics import PoolStatistics

    EndpointLike = AgentEndpoint | Located | tuple[str, int]

__all__ = ["AgentPool"]

Messages = Sequence[Mapping[str, Any]]


class AgentPool:
    """Agents that speak `POST /generate {"prompt"} -> {"response"}`, driven over one session.

    `endpoints` are `AgentEndpoint`s, `(host, port)` pairs, or anything with `host` and `port`. At most
    `min(concurrency, connector_limit)` requests are in flight, `concurrency_per_agent` of them to one agent, and at
    most `connector_limit` sockets are open at any instant, idle ones and attempts included. Seconds: `timeout` for a
    request on the wire, `queue_timeout` for the wait before it (callers beyond `max_waiting` are refused),
    `connect_timeout` for one attempt to connect, `keepalive_timeout` for an idle connection (stay below the servers':
    vLLM's is 5), `dns_ttl` for an answer of the name service. None turns a limit off; for `dns_ttl` it means the pool's
    life.

    `async with pool:` opens and closes; a pool that was never entered opens at its first request and must be closed.
    Use one pool per event loop; within it, any number of tasks may call any view at once.

    Calls raise for misuse (`PoolClosed`, `EmptyPool`, `BadIndex`, `WrongEventLoop`) and for want of room
    (`QueueTimeout`, `TooManyWaiting`); what happens on the wire is a `Response` that says so. Cancelling a call ends
    its connection and gives its slot to the next; it disturbs no other call.
    """

    def __init__(
        self,
        endpoints: Iterable[EndpointLike],
        concurrency: int = 512,
        connector_limit: int = 1024,
        timeout: float | None = 120.0,
        *,
        concurrency_per_agent: int | None = None,
        queue_timeout: float | None = None,
        max_waiting: int | None = None,
        keepalive_timeout: float | None = 4.0,
        connect_timeout: float | None = 10.0,
        dns_ttl: float | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | bool | None = None,
    ) -> None:
        options = PoolOptions(
            concurrency=concurrency,
            connector_limit=connector_limit,
            timeout=timeout,
            concurrency_per_agent=concurrency_per_agent,
            queue_timeout=queue_timeout,
            max_waiting=max_waiting,
            keepalive_timeout=keepalive_timeout,
            connect_timeout=connect_timeout,
            dns_ttl=dns_ttl,
            headers=dict(headers or {}),
            ssl=True if ssl is None else ssl,
        )
        checked = [_endpoint(item, index) for index, item in enumerate(endpoints)]
        name = f"{type(self).__name__}({len(checked)} agents{f', first {checked[0].url}' if checked else ''})"
        self._tree = Tree(name, checked, options)
        self._agents: tuple[Agent, ...] = self._tree.agents
        self._root: AgentPool | None = None  # not itself: a cycle would keep a dropped pool until the next collection

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """A view has the attributes that a subclass gave the root; a name nobody has is an AttributeError."""
            root = self.__dict__.get("_root")
            if root is None or name.startswith("__"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(root, name)

    # ---------------------------------------------------------------------------------------------- what it is

    @property
    def size(self) -> int:
        """Agents in this view."""
        return len(self._agents)

    @property
    def endpoints(self) -> tuple[AgentEndpoint, ...]:
        """The agents' endpoints, in the order of their indices."""
        return tuple(agent.endpoint for agent in self._agents)

    @property
    def timeout(self) -> float | None:
        """Seconds that a request may take on the wire."""
        return self._tree.options.timeout

    def statistics(self) -> PoolStatistics:
        """One frozen, consistent record of the whole tree. Works in any state."""
        return self._tree.statistics(self.size)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        now = self.statistics()
        sockets, admission = now.connections, now.admission
        view = "" if self._root is None else f" of {now.agents}"
        return (
            f"<{type(self).__name__} {now.state.name} {self.size}{view} agents | "
            f"requests: {admission.in_flight} of {now.limit} in flight, {admission.waiting} waiting, "
            f"{now.requests.succeeded} ok, {now.requests.failed} failed | "
            f"connections: {sockets.open} of {now.connector_limit} open ({sockets.idle} idle), "
            f"{sockets.opened} opened, {sockets.reused} reused>"
        )

    # For people who read internals: the one session, the limiter, the endpoints.

    @property
    def _session(self) -> ClientSession | None:
        return self._tree.session

    @property
    def _semaphore(self) -> Limiter:
        return self._tree.limiter

    @property
    def _endpoints(self) -> tuple[AgentEndpoint, ...]:
        return self.endpoints

    # ---------------------------------------------------------------------------------------------- its life

    async def __aenter__(self) -> Self:
        """Open. Entering a sub-pool, or an open pool again, changes nothing. Raises `PoolClosed` after a close."""
        self._tree.check_open()
        if self._root is None:
            self._tree.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, drain: float = 5.0) -> None:
        """Close the tree: refuse newcomers, fail those who wait, give requests under way `drain` seconds, end the rest.

        When it returns no socket, task or timer of the tree is left. Requests that were ended are results of kind
        `closed`. It may be called often and by many at once: all return when it is done, and the soonest drain counts.
        Cancelling a caller does not stop the closing. On a sub-pool it does nothing: only the root closes.
        """
        seconds("drain", drain, zero=True)
        if self._root is None:
            await self._tree.close(drain)

    # ---------------------------------------------------------------------------------------------- views

    def by_tag(self, key: str, value: str) -> Self:
        """The agents of this view whose tag `key` is `value`."""
        return self._view(agent for agent in self._agents if agent.endpoint.tags.get(key) == value)

    def sample(self, n: int, seed: int | None = None) -> Self:
        """`n` agents of this view, or all if it has fewer, chosen by chance: the same for the same `seed`."""
        count("n", n, at_least=0)
        chance = random.Random(seed)
        return self._view(chance.sample(self._agents, min(n, self.size)))

    def select(self, indices: Iterable[int]) -> Self:
        """The agents at `indices` of this view, in that order. Raises `BadIndex`."""
        self._tree.check_open()
        return self._view([self._agents[self._checked(index)] for index in indices])

    def slice(self, start: int, stop: int) -> Self:
        """The agents from `start` up to but not including `stop`, clamped to this view."""
        start, stop = operator.index(start), operator.index(stop)
        return self._view(self._agents[max(start, 0) : max(stop, 0)])

    # ---------------------------------------------------------------------------------------------- requests

    async def post(
        self,
        agent_index: int,
        prompt: str | None,
        max_tokens: int | None = None,
        *,
        messages: Messages | None = None,
        **sampling: Any,
    ) -> Response:
        """Send one prompt to one agent of this view and return its result.

        `sampling` goes into the request as it is. Raises as the class says; cancelling it ends the connection.
        """
        agent = self._agent(agent_index)
        composed = await self._compose(agent, agent_index, prompt, max_tokens, messages, sampling)
        if isinstance(composed, Response):
            return composed
        path, body = composed
        exchange, outcome = await self._exchange(agent, path, body, self.timeout)
        reply, failure = judge(outcome, self._read_whole)
        self._tree.counts.count(failure.kind if failure else None)
        return result(
            agent_index,
            exchange,
            text=reply.text,
            status=outcome.status,
            failure=failure,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
        )

    async def post_batch(
        self, agent_index: int, prompts: Sequence[str], max_tokens: int | None = None, **sampling: Any
    ) -> list[Response]:
        """Send many prompts to one agent of this view; results in the order of the prompts.

        A plain agent takes one prompt at a time, so each is a request and a slot of its own.
        """
        self._agent(agent_index)
        turns = Turns(prompts, 1, self._tree.options.concurrency_per_agent)

        async def one(index: int, prompt: str) -> Response:
            return await self._quiet_post(agent_index, index, prompt, max_tokens, sampling)

        return await in_order(turns, self._workers(prompts, agents=1), one)

    async def send_all(self, prompts: Iterable[str], max_tokens: int | None = None, **sampling: Any) -> list[Response]:
        """Send prompt i to agent `i % size`; results in the order of the prompts, every failure among them.

        It holds as many tasks as requests may be in flight, however many prompts there are. Raises `EmptyPool` and
        `PoolClosed` before anything is sent. Cancelling it cancels what is under way.
        """
        self._agent(0)
        return await in_order(*self._plan_all(prompts, max_tokens, sampling))

    async def stream_all(
        self, prompts: Iterable[str], max_tokens: int | None = None, **sampling: Any
    ) -> AsyncIterator[Response]:
        """The same, but each result as soon as it is there; `prompt_index` says whose it is.

        A consumer that falls behind holds the sending up. Leaving early cancels what is under way.
        """
        self._agent(0)
        results = as_finished(*self._plan_all(prompts, max_tokens, sampling))
        try:
            async for response in results:
                yield response
        finally:
            await results.aclose()

    async def send_all_batched(
        self, prompts: Iterable[str], max_tokens: int | None = None, **sampling: Any
    ) -> list[Response]:
        """`send_all`; a pool whose agents take batches sends each agent's prompts together instead."""
        return await self.send_all(prompts, max_tokens, **sampling)

    async def broadcast_prompt(self, prompt: str, max_tokens: int | None = None, **sampling: Any) -> list[Response]:
        """Send one prompt to every agent of this view; results in the order of the agents."""
        self._agent(0)
        return await self.send_all([prompt] * self.size, max_tokens, **sampling)

    def stream(
        self,
        agent_index: int,
        prompt: str | None,
        max_tokens: int | None = None,
        *,
        messages: Messages | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        **sampling: Any,
    ) -> Stream:
        """One answer as it comes: see `Stream`. Raises for misuse at once; sends when it is first read.

        `timeout` bounds the whole of it (None = the pool's), `idle_timeout` the gap between two pieces (None = off).
        """
        agent = self._agent(agent_index)
        limit = self.timeout if timeout is None else seconds("timeout", timeout)
        return Stream(
            StreamPlan(
                admit=lambda: self._tree.admit(agent, limit),
                compose=lambda: self._compose(
                    agent, agent_index, prompt, max_tokens, messages, self._stream_sampling(sampling)
                ),
                read_event=self._read_event,
                read_whole=self._read_whole,
                result=partial(self._result, agent_index),
                idle_timeout=seconds_or_none("idle_timeout", idle_timeout),
            )
        )

    # ------------------------------------------------------------------- what a subclass with another dialect overrides

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
        if messages is not None:
            raise TypeError("messages need a chat: AgentPool's agents take one prompt; use VLLMPool")
        return "/generate", encode(
            generate_body(text("prompt", prompt), count_or_none("max_tokens", max_tokens, at_least=0), sampling)
        )

    def _stream_sampling(self, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        """`sampling` of a request whose answer is to be a stream."""
        return {**sampling, "stream": True}

    def _read_whole(self, body: bytes) -> Reply:
        """The reply in the body of a 2xx answer; raises `ShapeError`."""
        return read_generate(body)

    def _read_event(self, data: bytes) -> Delta:
        """What one event of a stream adds; raises `ShapeError` and `ErrorEvent`."""
        return read_generate_delta(data)

    # ---------------------------------------------------------------------------------------------- the inside

    def _view(self, agents: Iterable[Agent]) -> Self:
        self._tree.check_open()
        view = object.__new__(type(self))
        view._tree, view._agents = self._tree, tuple(agents)
        view._root = self if self._root is None else self._root
        return view

    def _checked(self, index: int) -> int:
        index = operator.index(index)
        if not 0 <= index < self.size:
            raise BadIndex(f"index {index} is not one of this view's {self.size} agents (0 to {self.size - 1})")
        return index

    def _agent(self, agent_index: int) -> Agent:
        self._tree.check_open()
        if not self._agents:
            raise EmptyPool("this view has no agents")
        return self._agents[self._checked(agent_index)]

    def _workers(self, prompts: object, agents: int) -> int:
        options = self._tree.options
        most = options.limit
        if options.concurrency_per_agent is not None:
            most = min(most, options.concurrency_per_agent * agents)
        return min(most, len(prompts)) if isinstance(prompts, Sequence) else most

    def _plan_all(
        self, prompts: Iterable[str], max_tokens: int | None, sampling: Mapping[str, Any]
    ) -> tuple[Turns, int, Callable[[int, Any], Awaitable[Response]]]:
        if isinstance(prompts, str):
            raise TypeError("prompts must be a collection of prompts, not one string")
        size = self.size

        async def one(index: int, prompt: str) -> Response:
            return await self._quiet_post(index % size, index, prompt, max_tokens, sampling)

        turns = Turns(prompts, size, self._tree.options.concurrency_per_agent)
        return turns, self._workers(prompts, agents=size), one

    async def _quiet_post(
        self, agent_index: int, prompt_index: int, prompt: str, max_tokens: int | None, sampling: Mapping[str, Any]
    ) -> Response:
        """`post` for one prompt among many: what it would raise for want of room is a result here."""
        try:
            response = await self.post(agent_index, prompt, max_tokens, **sampling)
        except REFUSALS as refusal:
            response = refused(self._agents[agent_index], agent_index, refusal)
        return replace(response, prompt_index=prompt_index)

    async def _exchange(
        self, agent: Agent, path: str, body: bytes | None, timeout: float | None, method: str = "POST"
    ) -> tuple[Exchange, Outcome]:
        exchange = await self._tree.admit(agent, timeout)
        try:
            outcome = await exchange.fetch(method, path, body)
        except asyncio.CancelledError:
            self._tree.counts.cancelled += 1
            raise
        finally:
            exchange.end()
        return exchange, outcome

    def _result(self, agent_index: int, exchange: Exchange, **facts: Any) -> Response:
        """The one result of an exchange, counted; `facts` as in `results.result`."""
        response = result(agent_index, exchange, **facts)
        self._tree.counts.count(response.kind)
        return response


def _endpoint(item: Any, index: int) -> AgentEndpoint:
    try:
        return as_endpoint(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"endpoints[{index}]: {error}") from error
