"""`AgentPool`: a view of a tree, and the calls that send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Self

from aiohttp import Fingerprint

from swarmpool.care import CareOptions
from swarmpool.delivery import Delivery, Once, Try, of_all
from swarmpool.endpoints import as_endpoint
from swarmpool.fanout import Turns, as_finished, in_order
from swarmpool.formats import Delta, Reply, encode, generate_body, read_generate, read_generate_delta
from swarmpool.options import PoolOptions, count_or_none, seconds, seconds_or_none, text
from swarmpool.responses import Response
from swarmpool.results import REFUSALS, judge, refused, result
from swarmpool.route import Route
from swarmpool.stream_tries import Begun, StreamTries
from swarmpool.streaming import Stream, StreamPlan
from swarmpool.tree import Tree
from swarmpool.views import View

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.endpoints import AgentEndpoint, Located
    from swarmpool.events import PoolEvent
    from swarmpool.exchange import Exchange, Outcome
    from swarmpool.health import Health
    from swarmpool.hedging import Hedge
    from swarmpool.retry import Retry
    from swarmpool.routing import Key, Policy
    from swarmpool.websockets import WebSocketPool

    EndpointLike = AgentEndpoint | Located | tuple[str, int]

__all__ = ["AgentPool", "Response", "check_prompts"]

Messages = Sequence[Mapping[str, Any]]


class AgentPool(View):
    """Agents that speak `POST /generate {"prompt"} -> {"response"}`, driven over one session.

    `endpoints` are `AgentEndpoint`s, `(host, port)` pairs, or anything with `host` and `port`. At most
    `min(concurrency, connector_limit)` requests are in flight, `concurrency_per_agent` of them to one agent, and at
    most `connector_limit` sockets are open at any instant, idle ones and attempts included. Seconds: `timeout` for a
    request on the wire, `queue_timeout` for the wait before it (callers beyond `max_waiting` are refused),
    `connect_timeout` for one attempt to connect, its TLS handshake included (a name with several addresses that do not
    answer gets it for each of them in turn), `keepalive_timeout` for an idle connection (stay below the servers':
    vLLM's is 5), `dns_ttl` for an answer of the name service. None turns a limit off; for `dns_ttl` it means the pool's
    life.

    For endpoints whose scheme is `https`, `ssl` says whom to trust, one way for the whole tree: an `ssl.SSLContext`, an
    `aiohttp.Fingerprint` of the one certificate there is, None or True for the system's authorities, False for anybody.

    What it does about agents that fail or are slow is off unless given: `retry` sends what failed again, `health`
    leaves agents alone that fail too often, `hedge` asks a second agent when the first is slow, and `routing` chooses
    the agent where a call names none (in turn, without it). `seed` is for their chance; `on_event` is called with each
    `PoolEvent`.

    `async with pool:` opens and closes; a pool that was never entered opens at its first request and must be closed.
    Use one pool per event loop; within it, any number of tasks may call any view at once.

    Calls raise for misuse (`PoolClosed`, `EmptyPool`, `BadIndex`, `WrongEventLoop`) and for want of room
    (`QueueTimeout`, `TooManyWaiting`, `AgentUnavailable`); what happens on the wire is a `Response` that says so.
    Cancelling a call ends its connection and gives its slot to the next; it disturbs no other call.
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
        ssl: SSLContext | Fingerprint | bool | None = None,
        retry: Retry | None = None,
        health: Health | None = None,
        routing: Policy | None = None,
        hedge: Hedge | None = None,
        seed: int | None = None,
        on_event: Callable[[PoolEvent], object] | None = None,
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
            headers={} if headers is None else headers,
            ssl=True if ssl is None else ssl,
        )
        care = CareOptions(retry=retry, health=health, routing=routing, hedge=hedge, seed=seed, on_event=on_event)
        checked = _endpoints(endpoints)
        name = f"{type(self).__name__}({len(checked)} agents{f', first {checked[0].url}' if checked else ''})"
        super().__init__(Tree(name, checked, options, care))

    # ---------------------------------------------------------------------------------------------- requests

    async def post(
        self,
        agent_index: int | None,
        prompt: str | None,
        max_tokens: int | None = None,
        *,
        messages: Messages | None = None,
        **sampling: Any,
    ) -> Response:
        """Send one prompt to one agent of this view and return its result. With None, the pool's `routing` chooses.

        `sampling` goes into the request as it is. Raises as the class says; cancelling it ends the connection.
        """
        if agent_index is None:
            return await self.ask(prompt, max_tokens, messages=messages, **sampling)
        agent = self._agent(agent_index)
        if not self._tree.care.plain:
            send = self._sender(prompt, max_tokens, messages, sampling)
            return (await self._deliver(send, agent_index, movable=False))[0]
        response = await self._send(agent, agent_index, prompt, max_tokens, messages, sampling)
        self._tree.counts.count(response.kind)
        return response

    async def ask(
        self,
        prompt: str | None,
        max_tokens: int | None = None,
        *,
        key: Key | None = None,
        messages: Messages | None = None,
        **sampling: Any,
    ) -> Response:
        """Send one prompt to an agent that the pool's `routing` chooses (in turn, if it has none).

        Requests of one `key` (text, bytes or a whole number) belong together: `routing=Sticky()` sends them to one
        agent. Raises as the class says; cancelling it ends every connection it has.
        """
        return (await self._deliver(self._sender(prompt, max_tokens, messages, sampling), None, key=key))[0]

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
        return result(
            agent_index,
            exchange,
            text=reply.text,
            status=outcome.status,
            failure=failure,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            retry_after=outcome.retry_after,
        )

    async def post_batch(
        self, agent_index: int, prompts: Sequence[str], max_tokens: int | None = None, **sampling: Any
    ) -> list[Response]:
        """Send many prompts to one agent of this view; results in the order of the prompts.

        A plain agent takes one prompt at a time, so each is a request and a slot of its own.
        """
        self._agent(agent_index)
        check_prompts(prompts)
        turns = Turns(prompts, 1, self._tree.options.concurrency_per_agent)

        async def one(index: int, prompt: str) -> Response:
            return await self._quiet_post(agent_index, index, prompt, max_tokens, sampling, pinned=True)

        return await in_order(turns, self._workers(prompts, agents=1), one)

    async def send_all(
        self, prompts: Iterable[str], max_tokens: int | None = None, *, pinned: bool = False, **sampling: Any
    ) -> list[Response]:
        """Send prompt i to agent `i % size`; results in the order of the prompts, every failure among them.

        Where the pool has a `routing`, that chooses the agents, and with `retry`, `health` or `hedge` a prompt may go
        to another one; with `pinned` each stays with the agent whose turn it is. It holds as many tasks as requests may
        be in flight, however many prompts there are. Raises `EmptyPool` and `PoolClosed` before anything is sent.
        Cancelling it cancels what is under way.
        """
        self._agent(0)
        return await in_order(*self._plan_all(prompts, max_tokens, sampling, pinned=pinned))

    async def stream_all(
        self, prompts: Iterable[str], max_tokens: int | None = None, *, pinned: bool = False, **sampling: Any
    ) -> AsyncGenerator[Response, None]:
        """The same, but each result as soon as it is there; `prompt_index` says whose it is.

        A consumer that falls behind holds the sending up. Leaving early cancels what is under way.
        """
        self._agent(0)
        results = as_finished(*self._plan_all(prompts, max_tokens, sampling, pinned=pinned))
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
        """Send one prompt to every agent of this view and to no other; results in the order of the agents."""
        self._agent(0)
        return await self.send_all([prompt] * self.size, max_tokens, pinned=True, **sampling)

    def stream(
        self,
        agent_index: int | None,
        prompt: str | None,
        max_tokens: int | None = None,
        *,
        messages: Messages | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        key: Key | None = None,
        **sampling: Any,
    ) -> Stream:
        """One answer as it comes: see `Stream`. Raises for misuse at once; sends when it is first read.

        `timeout` bounds each try of it (None = the pool's), `idle_timeout` the gap between two pieces (None: off). With
        None for an agent the pool's `routing` chooses, by `key` as in `ask`. With `retry`, a try that fails before its
        first text is followed by another.
        """
        agent_index = self._place(agent_index)
        limit = self.timeout if timeout is None else seconds("timeout", timeout)

        async def begin(place: int) -> Begun | Response:
            agent = self._agents[place]
            request = self._stream_sampling(sampling)
            composed = await self._compose(agent, place, prompt, max_tokens, messages, request)
            return composed if isinstance(composed, Response) else (await self._tree.admit(agent, limit), composed)

        route = partial(self._route, agent_index, movable=agent_index is None, key=key)
        tries = StreamTries(self._tree, route, begin)
        return Stream(
            StreamPlan(
                tries=tries,
                read_event=self._read_event,
                read_whole=self._read_whole,
                result=lambda exchange, **facts: result(tries.place, exchange, **facts),
                idle_timeout=seconds_or_none("idle_timeout", idle_timeout),
            )
        )

    def websockets(self, agent_index: int, path: str = "/v1/realtime", **options: Any) -> WebSocketPool:
        """Websockets to `path` of one agent of this view, over the tree's session: a `ConnectionPool` of its own.

        The same agent and path give the same pool; `options` are those of `WebSocketPool` (but `url`, `ssl` and
        `session`), and other ones than before are a ValueError. An open websocket takes one of `connector_limit` for as
        long as it lives, and none of `concurrency`; idle ones give way to requests that wait for a socket. It closes
        with the tree. Raises as the class says; opens nothing yet.
        """
        self._tree.check_open()
        return self._tree.websockets.pool(self._agent(agent_index), path, options)

    def aggregating(self) -> Self:
        """These agents for calls that merge the answers of others, which may have longer answers: here, the same."""
        return self

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

    def _read_whole(self, body: bytes) -> Reply:
        """The reply in the body of a 2xx answer; raises `ShapeError`."""
        return read_generate(body)

    def _read_event(self, data: bytes) -> Delta:
        """What one event of a stream adds; raises `ShapeError` and `ErrorEvent`."""
        return read_generate_delta(data)

    # ---------------------------------------------------------------------------------------------- the inside

    def _workers(self, prompts: object, agents: int) -> int:
        options = self._tree.options
        most = options.limit
        if options.concurrency_per_agent is not None:
            most = min(most, options.concurrency_per_agent * agents)
        return min(most, len(prompts)) if isinstance(prompts, Sequence) else most

    def _plan_all(
        self, prompts: Iterable[str], max_tokens: int | None, sampling: Mapping[str, Any], *, pinned: bool
    ) -> tuple[Turns, int, Callable[[int, Any], Awaitable[Response]]]:
        check_prompts(prompts)
        size = self.size

        async def one(index: int, prompt: str) -> Response:
            return await self._quiet_post(index % size, index, prompt, max_tokens, sampling, pinned=pinned)

        turns = Turns(prompts, size, self._tree.options.concurrency_per_agent)
        return turns, self._workers(prompts, agents=size), one

    async def _quiet_post(
        self,
        agent_index: int,
        prompt_index: int,
        prompt: str,
        max_tokens: int | None,
        sampling: Mapping[str, Any],
        *,
        pinned: bool,
    ) -> Response:
        """`post` for one prompt among many: what it would raise for want of room is a result here."""
        try:
            if self._movable and not pinned:
                send = self._sender(prompt, max_tokens, None, sampling)
                place = None if self._tree.care.follows_policy else agent_index
                response = (await self._deliver(send, place))[0]
            else:
                response = await self.post(agent_index, prompt, max_tokens, **sampling)
        except REFUSALS as refusal:
            response = refused(self._agents[agent_index], agent_index, refusal)
        return replace(response, prompt_index=prompt_index)

    def _place(self, agent_index: int | None) -> int | None:
        """`agent_index`, checked; None if the policy is to choose. Raises as the class says."""
        self._agent(0 if agent_index is None else agent_index)
        return agent_index

    def _route(self, place: int | None, *, movable: bool, key: Key | None = None) -> Route:
        return Route(self._tree, self._agents, place=place, movable=movable, key=key)

    @property
    def _movable(self) -> bool:
        """Whether a prompt among many may go to another agent than the one whose turn it is."""
        care = self._tree.care
        return not care.plain or care.follows_policy or care.hedging is not None

    async def _deliver(
        self, send: Once, place: int | None, *, movable: bool = True, key: Key | None = None
    ) -> list[Response]:
        """The results of a request that may take several tries; counted once."""
        self._tree.check_open()
        results = await Delivery(self._tree, self._route(place, movable=movable, key=key), send).run()
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


def check_prompts(prompts: object) -> None:
    """Refuse one string, which is a collection of characters, and a sequence with anything else than text in it."""
    if isinstance(prompts, str):
        raise TypeError("prompts must be a collection of prompts, not one string")
    if isinstance(prompts, Sequence):
        for index, prompt in enumerate(prompts):
            if not isinstance(prompt, str):
                raise TypeError(f"prompts[{index}] must be text, not {type(prompt).__name__}")


def _endpoints(items: object) -> list[AgentEndpoint]:
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise TypeError(f"endpoints must be a collection of endpoints, not {items!r}")
    return [_endpoint(item, index) for index, item in enumerate(items)]


def _endpoint(item: Any, index: int) -> AgentEndpoint:
    try:
        return as_endpoint(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"endpoints[{index}]: {error}") from error
