"""`AgentPool`: a view of a tree, and the calls that send."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Self

from aiohttp import Fingerprint

from swarmpool.care import CareOptions
from swarmpool.endpoints import as_endpoints
from swarmpool.fanout import Put, Turns, as_finished, check_prompts, in_order, interleaved
from swarmpool.options import PoolOptions, count, seconds
from swarmpool.progress import checked_progress
from swarmpool.readiness import Readiness, prewarm, wait_ready
from swarmpool.responses import Response, StreamChunk, numbered
from swarmpool.results import REFUSALS, refused
from swarmpool.sending import Messages
from swarmpool.stream import Stream
from swarmpool.stream_sending import StreamSender
from swarmpool.tree import Tree

if TYPE_CHECKING:
    from swarmpool.adaptive import Adaptive
    from swarmpool.endpoints import AgentEndpoint, Located
    from swarmpool.events import PoolEvent
    from swarmpool.health import Health
    from swarmpool.hedging import Hedge
    from swarmpool.progress import Progress
    from swarmpool.retry import Retry
    from swarmpool.routing import Key, Policy
    from swarmpool.websockets import WebSocketPool

    EndpointLike = AgentEndpoint | Located | tuple[str, int]

__all__ = ["AgentPool", "Response"]


class AgentPool(StreamSender):
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
    the agent where a call names none (in turn, without it). `adaptive` finds out how many requests each agent bears at
    once, in place of `concurrency_per_agent`. `seed` is for their chance; `on_event` is called with each
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
        adaptive: Adaptive | None = None,
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
        if adaptive is not None and concurrency_per_agent is not None:
            raise ValueError("adaptive and concurrency_per_agent must not both be given: Adaptive.maximum is the cap")
        care = CareOptions(
            retry=retry, health=health, routing=routing, hedge=hedge, seed=seed, on_event=on_event, adaptive=adaptive
        )
        checked = as_endpoints(endpoints)
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
        first text is followed by another; with `hedge`, one that has none for long is raced by a second agent's.
        """
        return self._stream(
            self._place(agent_index),
            prompt,
            max_tokens,
            movable=agent_index is None,
            messages=messages,
            timeout=timeout,
            idle_timeout=idle_timeout,
            key=key,
            **sampling,
        )

    async def stream_many(
        self, prompts: Iterable[str], max_tokens: int | None = None, **options: Any
    ) -> AsyncGenerator[StreamChunk, None]:
        """The streams of many prompts, their chunks as they come; `prompt_index` of a chunk says whose it is.

        Prompts go to agents as in `send_all`. The chunks of one prompt are in order, and its last carries its
        `Response`, failures among them. `options` are those of `stream`. A consumer that falls behind holds the reading
        up; leaving early aborts what is under way. Raises as `send_all` does, before anything is sent.
        """
        self._agent(0)
        check_prompts(prompts)
        size, movable, follows = self.size, self._movable, self._tree.care.follows_policy
        begin = partial(self._stream, movable=True) if movable and not follows else self.stream

        async def produce(index: int, prompt: str, put: Put[StreamChunk]) -> None:
            place = None if follows else index % size
            try:
                async with begin(place, prompt, max_tokens, **options) as stream:
                    async for chunk in stream:
                        await put(numbered(chunk, index))
            except REFUSALS as refusal:
                response = refused(self._agents[index % size], index % size, refusal)
                await put(numbered(StreamChunk("", 0, 0.0, response), index))

        turns = Turns(prompts, size, None if movable else self._tree.options.concurrency_per_agent)
        async with aclosing(interleaved(turns, self._workers(prompts, agents=size), produce)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def wait_ready(
        self,
        timeout: float,
        *,
        minimum: int | None = None,
        interval: float = 0.5,
        progress: Callable[[Progress], object] | None = None,
    ) -> Readiness:
        """Ask `/health` of this view's agents until `minimum` of them are ready (None = all), or for `timeout` seconds.

        Returns who is ready and who is missing, with reasons; it does not raise for those that are. Rounds are
        `interval` seconds apart at first, and later up to 5. `progress` is called for each agent that is ready.
        Cancelling it ends what is under way. Raises `PoolClosed`, `EmptyPool` and ValueError.
        """
        self._agent(0)
        wanted = self.size if minimum is None else count("minimum", minimum)
        if wanted > self.size:
            raise ValueError(f"minimum must be at most the {self.size} agents of this view, not {wanted}")
        seconds("timeout", timeout)
        seconds("interval", interval)
        checked_progress(progress)
        return await wait_ready(
            self._tree, self._agents, timeout=timeout, minimum=wanted, interval=interval, progress=progress
        )

    async def prewarm(self, per_agent: int = 1) -> int:
        """Open `per_agent` connections to each agent of this view, so that the first prompts find them; how many are.

        It asks `/health` over them, and keeps within the limits: of connections, in flight, and per agent. They stay
        for `keepalive_timeout` seconds. Agents that do not answer are passed over. Raises as the class says; cancelling
        it ends what is under way.
        """
        self._agent(0)
        return await prewarm(self._tree, self._agents, count("per_agent", per_agent))

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
