"""swarmpool as a client under test: the adapter that `fleetsim prove` finds as `swarmpool`.

It is registered in the entry-point group `fleetsim.clients` and follows that group's protocol by shape alone: a pool
that can be opened, asked, divided into views, closed and counted. Nothing here is needed to use swarmpool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from swarmpool._version import __version__
from swarmpool.connection_pool import Lease
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import AgentUnavailable
from swarmpool.health import Health
from swarmpool.hedging import Hedge
from swarmpool.responses import FailureKind, Response
from swarmpool.retry import Retry
from swarmpool.vllm import VLLMPool
from swarmpool.watched import WatchedWebSocket
from swarmpool.websockets import WebSocketPool

__all__ = [
    "ProvingClient",
    "ProvingCounts",
    "ProvingLease",
    "ProvingOutcome",
    "ProvingPool",
    "ProvingWebSockets",
    "client",
]

_CONTEXT = 131_072  # tokens; given, so that no request for it is mixed into the counts


class _Endpoint(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class _Options(Protocol):
    @property
    def concurrency(self) -> int: ...
    @property
    def connector_limit(self) -> int: ...
    @property
    def concurrency_per_agent(self) -> int | None: ...
    @property
    def timeout(self) -> float: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def keepalive_timeout(self) -> float: ...
    @property
    def model(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def tries(self) -> int: ...
    @property
    def retry_pause(self) -> float: ...
    @property
    def eject_after(self) -> int | None: ...
    @property
    def eject_seconds(self) -> float: ...
    @property
    def hedge_after(self) -> float | None: ...


class _WebSocketOptions(Protocol):
    @property
    def max_session_duration(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class ProvingOutcome:
    """How a request ended, as the caller was told: `error` names the kind of failure, and both are empty on success.

    `attempts` counts the times it was sent, or tried to be.
    """

    ok: bool
    text: str
    error: str
    kind: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ProvingCounts:
    """The tree's own counts, from `PoolStatistics`."""

    opened: int
    closed: int
    reused: int
    open: int
    idle: int
    peak_open: int
    in_flight: int
    waiting: int
    peak_in_flight: int


class ProvingPool:
    """A `VLLMPool` or a view of one, behind the few calls of the protocol. Cancelling a call cancels the request."""

    def __init__(self, pool: VLLMPool) -> None:
        self._pool = pool

    async def open(self) -> None:
        """Enter the pool's or the view's context."""
        await self._pool.__aenter__()

    async def close(self) -> None:
        """Close the pool at once, without a drain; on a view, close the view."""
        await self._pool.close(drain=0)

    async def request(self, index: int, prompt: str) -> ProvingOutcome:
        """One chat completion. Raises `PoolClosed` and the other errors of misuse; the rest is an outcome."""
        return await self._sent(self._pool.post(index, prompt))

    async def ask(self, prompt: str) -> ProvingOutcome:
        """One chat completion by an agent that the pool chooses."""
        return await self._sent(self._pool.ask(prompt))

    async def _sent(self, call: Awaitable[Response]) -> ProvingOutcome:
        try:
            return _outcome(await call)
        except AgentUnavailable as error:
            return ProvingOutcome(False, "", f"unavailable: {error}", str(FailureKind.UNAVAILABLE))

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> ProvingOutcome:
        """One chat completion as a stream, left after so many chunks of text if told so."""
        texts: list[str] = []
        async with self._pool.stream(index, prompt) as stream:
            async for chunk in stream:
                if chunk.response is not None:
                    return _outcome(chunk.response)
                texts += [chunk.text] if chunk.text else []
                if len(texts) == leave_after:
                    break
        return ProvingOutcome(True, "".join(texts), "")

    def view(self, kind: str, *arguments: Any) -> ProvingPool:
        """The sub-pool that `by_tag`, `sample`, `select` or `slice` gives."""
        return ProvingPool(getattr(self._pool, kind)(*arguments))

    def websockets(self, index: int, path: str, options: _WebSocketOptions) -> ProvingWebSockets:
        """The websockets of one agent."""
        pool = self._pool.websockets(index, path, max_session_duration=options.max_session_duration)
        return ProvingWebSockets(pool)

    def counts(self) -> ProvingCounts:
        """What the tree has counted so far."""
        statistics = self._pool.statistics()
        connections, admission = statistics.connections, statistics.admission
        return ProvingCounts(
            opened=connections.opened,
            closed=connections.closed,
            reused=connections.reused,
            open=connections.open,
            idle=connections.idle,
            peak_open=connections.peak_open,
            in_flight=admission.in_flight,
            waiting=admission.waiting,
            peak_in_flight=admission.peak_in_flight,
        )


class ProvingWebSockets:
    """A `WebSocketPool` behind the few calls of the protocol."""

    def __init__(self, pool: WebSocketPool) -> None:
        self._pool = pool

    async def borrow(self) -> ProvingLease:
        """A lease. Raises `PoolClosed`, and what goes wrong on the wire."""
        return ProvingLease(await self._pool.acquire())

    def invalidate(self) -> None:
        """`ConnectionPool.invalidate`."""
        self._pool.invalidate()

    async def prewarm(self, number: int) -> None:
        """`ConnectionPool.prewarm`, awaited."""
        await self._pool.prewarm(number)

    async def close(self) -> None:
        """Close the pool at once, without a drain."""
        await self._pool.aclose(drain=0)


class ProvingLease:
    """A websocket of one's own."""

    def __init__(self, lease: Lease[WatchedWebSocket]) -> None:
        self._lease = lease

    async def ask(self, text: str) -> str:
        """Send a text and return the next one that comes."""
        await self._lease.connection.send_str(text)
        return str(await self._lease.connection.receive_str())

    def give_back(self) -> None:
        """Release the lease."""
        self._lease.release()

    def discard(self) -> None:
        """Discard the lease."""
        self._lease.discard()


def _outcome(response: Response) -> ProvingOutcome:
    if response.success:
        return ProvingOutcome(True, response.text, "", attempts=response.attempts)
    error = f"{response.kind}: {response.error}"
    return ProvingOutcome(False, response.text, error, str(response.kind), response.attempts)


class ProvingClient:
    """The adapter."""

    name = "swarmpool"
    features = frozenset({"views", "ledger", "websockets", "kinds", "retries", "breakers", "hedges"})
    version = f"swarmpool {__version__} over aiohttp {aiohttp.__version__}"

    def build(self, endpoints: Sequence[_Endpoint], options: _Options) -> ProvingPool:
        """A pool over `endpoints` that is not open yet."""
        agents = [AgentEndpoint(endpoint.host, endpoint.port, endpoint.tags) for endpoint in endpoints]
        pool = VLLMPool(
            agents,
            model=options.model,
            max_tokens=options.max_tokens,
            model_max_context=_CONTEXT,
            concurrency=options.concurrency,
            connector_limit=options.connector_limit,
            concurrency_per_agent=options.concurrency_per_agent,
            timeout=options.timeout,
            connect_timeout=options.connect_timeout,
            keepalive_timeout=options.keepalive_timeout,
            retry=_retry(options),
            health=_health(options),
            hedge=_hedge(options),
        )
        return ProvingPool(pool)


def _retry(options: _Options) -> Retry | None:
    return Retry(tries=options.tries, pause=options.retry_pause) if options.tries > 1 else None


def _health(options: _Options) -> Health | None:
    failures, lasting = options.eject_after, options.eject_seconds
    if failures is None:
        return None
    return Health(failures=failures, open_seconds=lasting, longest_open_seconds=max(60.0, lasting))


def _hedge(options: _Options) -> Hedge | None:
    return None if options.hedge_after is None else Hedge(after=options.hedge_after, share=1.0)


client = ProvingClient()
