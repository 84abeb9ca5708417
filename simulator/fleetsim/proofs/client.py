"""What a client under test offers, and how it is found.

An adapter is an object registered in the entry-point group `fleetsim.clients`. It may live in any distribution and
need not import anything from here: the protocols are structural, and only read-only attributes are asked for.

    [project.entry-points."fleetsim.clients"]
    mine = "my_package.proving:client"

What it cannot do it leaves out of `features`; a claim that needs it is then `n/a` for this client. It may have a
`version`, text that says what it is and drives, such as `httpx 0.28.1`, which goes into reports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

__all__ = [
    "BUILT_IN",
    "FEATURES",
    "GROUP",
    "Borrowed",
    "Client",
    "ClientError",
    "CountedOutcome",
    "Counts",
    "Endpoint",
    "HedgingPool",
    "MissingClientError",
    "Options",
    "Outcome",
    "Pool",
    "WebSocketOptions",
    "WebSocketPool",
    "WebSockets",
    "client_names",
    "load_client",
    "version_of",
]

GROUP: Final = "fleetsim.clients"
BUILT_IN: Final[Mapping[str, str]] = {
    "aiohttp": "fleetsim.proofs.aiohttp_client:client",
    "httpx": "fleetsim.proofs.httpx_client:client",
    "openai": "fleetsim.proofs.openai_client:client",
    "openai-aiohttp": "fleetsim.proofs.openai_client:client_over_aiohttp",
}

_OURS = "fleetsim"
_INSTALL = "pip install 'swarmpool[clients]'"

FEATURES: Final[Mapping[str, str]] = {
    "views": "sub-clients over some of the endpoints: by_tag, sample, select, slice",
    "ledger": "exact counts of connections opened, closed, reused and open",
    "websockets": "a pool of websockets: borrowed one at a time, closed at their deadline, invalidated, prewarmed",
    "kinds": "outcomes whose `kind` says what failed, in the words of `fleetsim.faults.told.KINDS`",
    "retries": "refused requests sent again, up to `tries`; outcomes whose `attempts` say how often that was",
    "breakers": "endpoints that have failed `eject_after` times left alone for `eject_seconds`, then tried once",
    "hedges": "requests that leave the endpoint to the client, sent to a second one after `hedge_after`",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server as a client is told of it."""

    host: str
    port: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a client is asked to be. An adapter maps each to its client's nearest setting, or does without.

    `concurrency` bounds requests in flight, `connector_limit` open sockets (idle ones included), both over all
    endpoints; `concurrency_per_agent` bounds requests in flight at one endpoint. Times are in seconds: `timeout` for
    one request, `connect_timeout` for one attempt to connect, `keepalive_timeout` for how long an idle connection is
    kept. `model` and `max_tokens` go into each request.

    The rest is off unless a claim needs it: at most `tries` of one request, with `retry_pause` seconds between them or
    what `Retry-After` asks for; an endpoint is left alone for `eject_seconds` once it has failed `eject_after` times;
    a request that leaves the endpoint to the client goes to a second one when `hedge_after` seconds have passed.
    """

    concurrency: int = 512
    connector_limit: int = 1024
    concurrency_per_agent: int | None = None
    timeout: float = 30.0
    connect_timeout: float = 10.0
    keepalive_timeout: float = 4.0
    model: str = "sim"
    max_tokens: int = 16
    tries: int = 1
    retry_pause: float = 0.01
    eject_after: int | None = None
    eject_seconds: float = 5.0
    hedge_after: float | None = None


class Outcome(Protocol):
    """How one request ended, as its caller is told: `error` says why where `ok` is false, and is empty otherwise."""

    @property
    def ok(self) -> bool: ...
    @property
    def text(self) -> str: ...
    @property
    def error(self) -> str: ...


class CountedOutcome(Outcome, Protocol):
    """The outcome of a client with the feature `retries`: `attempts` is how often it was sent, or tried to be."""

    @property
    def attempts(self) -> int: ...


class Counts(Protocol):
    """What the client itself has counted, over the whole tree; None where it keeps no such count.

    `opened`, `closed` and `reused` only grow; `open` is all sockets now, idle ones among them; `peak_open` is the most
    there ever were, attempts to connect included.
    """

    @property
    def opened(self) -> int | None: ...
    @property
    def closed(self) -> int | None: ...
    @property
    def reused(self) -> int | None: ...
    @property
    def open(self) -> int | None: ...
    @property
    def idle(self) -> int | None: ...
    @property
    def peak_open(self) -> int | None: ...
    @property
    def in_flight(self) -> int | None: ...
    @property
    def waiting(self) -> int | None: ...
    @property
    def peak_in_flight(self) -> int | None: ...


class Pool(Protocol):
    """A client's pool, or a sub-client of one. Used from one event loop; calls run concurrently.

    Cancelling the task that awaits `request` or `stream` is how a caller gives up. A request refused because the pool
    is closed raises; whatever happens on the wire is an `Outcome`.
    """

    async def open(self) -> None:
        """Enter the pool. On a sub-client: enter its context, which may change nothing."""

    async def close(self) -> None:
        """Leave the pool, giving requests in flight no time to finish. On a sub-client: leave its context."""

    async def request(self, index: int, prompt: str) -> Outcome:
        """POST one chat completion to endpoint `index` of this (sub-)client and read the whole answer."""

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Outcome:
        """The same as server-sent events. `leave_after` chunks of text the caller leaves without reading the rest."""

    def view(self, kind: str, *arguments: object) -> Pool:
        """A sub-client: `by_tag(key, value)`, `sample(n, seed)`, `select(indices)` or `slice(start, stop)`."""

    def counts(self) -> Counts:
        """The client's own counts, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """What a pool of websockets is asked to be. `max_session_duration`: seconds after which one is not used again."""

    max_session_duration: float | None = None


class Borrowed(Protocol):
    """A websocket that nobody else has until it is given back or discarded."""

    async def ask(self, text: str) -> str:
        """Send `text`, and return the next message that comes."""

    def give_back(self) -> None:
        """It can serve again."""

    def discard(self) -> None:
        """It is to be closed."""


class WebSockets(Protocol):
    """A pool of websockets to one URL. A call on a closed one raises; so does what happens on the wire."""

    async def borrow(self) -> Borrowed:
        """A websocket of one's own, an idle one or a new one. Cancelling the task is how a caller gives up."""

    def invalidate(self) -> None:
        """Use none again whose handshake began before this moment."""

    async def prewarm(self, number: int) -> None:
        """Return when so many are idle."""

    async def close(self) -> None:
        """Close the pool, giving those in use no time."""


class WebSocketPool(Pool, Protocol):
    """The pool of a client with the feature `websockets`."""

    def websockets(self, index: int, path: str, options: WebSocketOptions) -> WebSockets:
        """Its pool of websockets to `path` of endpoint `index`; called once for each."""


class HedgingPool(Pool, Protocol):
    """The pool of a client with the feature `hedges`."""

    async def ask(self, prompt: str) -> Outcome:
        """`request` to an endpoint that the client chooses."""


class Client(Protocol):
    """The adapter itself. `build` makes a pool that is not open yet; it is called inside the running loop."""

    @property
    def name(self) -> str: ...
    @property
    def features(self) -> frozenset[str]: ...

    def build(self, endpoints: Sequence[Endpoint], options: Options) -> Pool: ...


class ClientError(Exception):
    """No client of that name, or its adapter cannot be used; the message says which and what was expected."""


class MissingClientError(ClientError):
    """The client is known and not installed; the message says what to install."""


def _registered() -> dict[str, EntryPoint]:
    built_in = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    return built_in | {entry.name: entry for entry in entry_points(group=GROUP)}


def client_names() -> list[str]:
    """Names of all clients that can be put to the proof, sorted."""
    return sorted(_registered())


def load_client(name: str) -> Client:
    """The adapter called `name`.

    Raises `ClientError` if there is none or it does not offer what it must, `MissingClientError` if it is one of ours
    and what it drives is not installed.
    """
    entry = _registered().get(name)
    if entry is None:
        raise ClientError(f"no client {name!r}: expected one of {', '.join(client_names())}")
    try:
        client = entry.load()
    except ModuleNotFoundError as error:
        if BUILT_IN.get(name) != entry.value or (error.name or "").startswith(_OURS):
            raise ClientError(f"client {name!r} ({entry.value}) cannot be imported: {error}") from error
        raise MissingClientError(f"client {name!r} needs {error.name}: {_INSTALL}") from error
    except (ImportError, AttributeError) as error:
        raise ClientError(f"client {name!r} ({entry.value}) cannot be imported: {error}") from error
    return _checked(name, client)


def _checked(name: str, client: Client) -> Client:
    missing = [part for part in ("name", "features", "build") if not hasattr(client, part)]
    if missing:
        raise ClientError(f"client {name!r} is no adapter: it lacks {', '.join(missing)}")
    unknown = client.features - set(FEATURES)
    if unknown:
        raise ClientError(f"client {name!r} has unknown features {sorted(unknown)}: expected some of {list(FEATURES)}")
    if asyncio.iscoroutinefunction(client.build):
        raise ClientError(f"client {name!r}: build must be a plain function, not a coroutine function")
    return client


def version_of(client: Client) -> str:
    """What `client` says it is and drives, with versions; its name where it says nothing."""
    return str(getattr(client, "version", client.name))
