"""The instruments of one meter provider. What can be read from `statistics()` is, when somebody collects.

OpenTelemetry asks gauges from a thread of its exporter's. A record of statistics is made of numbers and of tuples that
never change, so that is harmless; nothing is locked.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from swarmpool._version import __version__

if TYPE_CHECKING:
    from swarmpool.tree import Tree

__all__ = ["POOL_NAME", "Meters", "meters_of"]

POOL_NAME: Final = "swarmpool.pool.name"

Readings = Iterator[tuple[float, Mapping[str, str]]]

# The boundaries that the conventions recommend.
_HTTP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_CONNECTION_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_OPERATION_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
_FIRST_CHUNK_SECONDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_TOKENS: Final = tuple(4**power for power in range(14))


class Meters:
    """What is recorded, and the trees that gauges are read from, each under the name of its pool."""

    def __init__(self, provider: MeterProvider) -> None:
        self._trees: weakref.WeakKeyDictionary[Tree, str] = weakref.WeakKeyDictionary()
        self._meter = meter = provider.get_meter("swarmpool", __version__)
        self.request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests, each try of a call by itself.",
            explicit_bucket_boundaries_advisory=_HTTP_SECONDS,
        )
        self.time_in_queue = meter.create_histogram(
            "http.client.request.time_in_queue",
            "s",
            "Time that requests waited for a slot of the pool.",
            explicit_bucket_boundaries_advisory=_HTTP_SECONDS,
        )
        self.connection_duration = meter.create_histogram(
            "http.client.connection.duration",
            "s",
            "How long connections were open that are closed now.",
            explicit_bucket_boundaries_advisory=_CONNECTION_SECONDS,
        )
        self.operation_duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "Duration of calls, with all their tries and the waiting before and between them.",
            explicit_bucket_boundaries_advisory=_OPERATION_SECONDS,
        )
        self.token_usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of prompts and of answers, as the server counted them.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.time_to_first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time from the sending of a streamed request to its first text.",
            explicit_bucket_boundaries_advisory=_FIRST_CHUNK_SECONDS,
        )
        self._observe_gauges()
        self._observe_counters()

    def watch(self, tree: Tree, name: str) -> None:
        """Read gauges from `tree` too, for as long as it is there."""
        self._trees[tree] = name

    def forget(self, tree: Tree) -> None:
        """Read none from `tree` any longer."""
        self._trees.pop(tree, None)

    def _observe_gauges(self) -> None:
        gauge = self._meter.create_observable_up_down_counter
        gauge(
            "http.client.open_connections",
            [self._reader(_connections)],
            "{connection}",
            "Connections that serve a request (active) or wait for one (idle).",
        )
        gauge("http.client.active_requests", [self._reader(_active)], "{request}", "Requests in flight.")
        gauge(
            "swarmpool.pool.requests.waiting", [self._reader(_waiting)], "{request}", "Requests that wait for a slot."
        )
        gauge(
            "swarmpool.pool.endpoints",
            [self._reader(_endpoints)],
            "{endpoint}",
            "Agents, by where their breakers stand: closed, open or half_open.",
        )

    def _observe_counters(self) -> None:
        counter = self._meter.create_observable_counter
        counter(
            "swarmpool.pool.connections.created",
            [self._reader(lambda tree: _one(tree.statistics(0).connections.opened))],
            "{connection}",
            "Connections that came about.",
        )
        counter(
            "swarmpool.pool.connections.failed",
            [self._reader(lambda tree: _one(tree.statistics(0).connections.failed))],
            "{connection}",
            "Attempts to connect that failed.",
        )
        counter(
            "swarmpool.pool.connections.reused",
            [self._reader(lambda tree: _one(tree.statistics(0).connections.reused))],
            "{request}",
            "Requests on a connection that had served one before.",
        )
        counter(
            "swarmpool.pool.events",
            [self._reader(_events)],
            "{event}",
            "What the pool did about agents that failed or were slow, by the kind of its events.",
        )

    def _reader(self, read: Callable[[Tree], Readings]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """What `read` finds in every tree; pools of one name are one."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            sums: defaultdict[tuple[tuple[str, str], ...], float] = defaultdict(float)
            for tree, name in list(self._trees.items()):
                for value, attributes in read(tree):
                    sums[(POOL_NAME, name), *attributes.items()] += value
            return [Observation(value, dict(key)) for key, value in sums.items()]

        return observe


def _one(value: float) -> Readings:
    yield value, {}


def _active(tree: Tree) -> Readings:
    yield tree.limiter.in_flight, {}


def _waiting(tree: Tree) -> Readings:
    yield tree.limiter.waiting, {}


def _connections(tree: Tree) -> Readings:
    now = tree.statistics(0).connections
    yield now.acquired, {"http.connection.state": "active"}
    yield now.idle, {"http.connection.state": "idle"}


def _endpoints(tree: Tree) -> Readings:
    for state, agents in Counter(tree.care.state(agent) for agent in tree.agents).items():
        yield agents, {"swarmpool.endpoint.state": state.value.lower()}


def _events(tree: Tree) -> Readings:
    for kind, times in tree.care.events.counts.items():
        yield times, {"swarmpool.event": kind.value}


_METERS: weakref.WeakKeyDictionary[MeterProvider, Meters] = weakref.WeakKeyDictionary()


def meters_of(provider: MeterProvider) -> Meters:
    """The instruments of `provider`, made once: of two instruments of one name the SDK asks the first only."""
    meters = _METERS.get(provider)
    if meters is None:
        meters = _METERS[provider] = Meters(provider)
    return meters
