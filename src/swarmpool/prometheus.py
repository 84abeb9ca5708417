"""Prometheus' text of a pool, by a collector for prometheus-client. It needs that package: the extra `prometheus`.

    from prometheus_client import REGISTRY
    from swarmpool.prometheus import PoolCollector

    REGISTRY.register(PoolCollector(pool))

Every figure is read from `statistics()` and `agent_statistics()` when somebody scrapes, and has the word it has there;
its place in the record comes before it: `connections.opened` is `swarmpool_connections_opened_total`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ImportError("swarmpool.prometheus needs prometheus-client: pip install 'swarmpool[prometheus]'") from missing

from swarmpool.health import BreakerState
from swarmpool.options import text

if TYPE_CHECKING:
    from prometheus_client import Metric

    from swarmpool.statistics import AgentStatistics, PoolStatistics
    from swarmpool.views import View

__all__ = ["PoolCollector"]

# Where a figure is in a `PoolStatistics`, and what it counts.
_GAUGES: Final = {
    "size": "Agents of the view that is collected.",
    "agents": "Agents of the whole pool.",
    "limit": "Requests that may be in flight.",
    "connector_limit": "Connections that may be open.",
    "admission.in_flight": "Requests in flight.",
    "admission.peak_in_flight": "Requests that were in flight at once, at most.",
    "admission.waiting": "Requests that wait for a slot.",
    "admission.kept": "Connections that something longer than a request keeps, such as a websocket.",
    "connections.open": "Connections that are open, attempts to connect included.",
    "connections.peak_open": "Connections that were open at once, at most.",
    "connections.dialing": "Attempts to connect that are under way.",
    "connections.acquired": "Connections that serve a request.",
    "connections.idle": "Connections that wait for a request.",
    "connections.closing": "Connections that are being closed.",
    "care.ejected_now": "Agents whose breaker is not closed: they get nothing, or a probe only.",
}
_COUNTERS: Final = {
    "admission.attempts": "Requests that asked for a slot.",
    "admission.immediate": "Slots that were free when asked for.",
    "admission.waited": "Slots that were waited for.",
    "admission.timed_out": "Requests that got no slot within queue_timeout.",
    "admission.cancelled": "Requests that were cancelled as they waited.",
    "admission.rejected": "Requests refused because max_waiting waited already.",
    "admission.closed_out": "Requests that waited as the pool was closed.",
    "admission.handed_back": "Slots whose owner was cancelled before it had run.",
    "connections.opened": "Connections that came about.",
    "connections.closed": "Connections that are closed.",
    "connections.failed": "Attempts to connect that failed.",
    "connections.reused": "Requests on a connection that had served one before.",
    "connections.expired": "Idle connections closed by age.",
    "connections.evicted": "Idle connections closed to make room.",
    "connections.poisoned": "Idle connections closed as the server spoke out of turn.",
    "connections.lost_idle": "Idle connections that the server closed first.",
    "requests.succeeded": "Requests with a good answer.",
    "requests.cancelled": "Requests whose caller was cancelled after they were sent.",
    "requests.abandoned_streams": "Streams left before their end; they are among the failed.",
    "care.ejected": "Times that an agent was ejected.",
    "care.probing": "Times that an ejected agent was probed.",
    "care.returned": "Times that an ejected agent returned.",
    "care.retried": "Times that a request was sent again.",
    "care.hedged": "Requests that went to a second agent as well.",
    "care.hedge_won": "Requests that the second agent answered first.",
}


class PoolCollector(Collector):
    """A collector of one pool, or view of a pool: register it with a `CollectorRegistry`.

    `name` (None = the name of the pool's class) is the label `pool` of every figure, which tells pools in one registry
    apart. With `agents` there are three figures for each agent of the view, with its address as the label `agent`;
    leave that out where there are thousands. A pool that is gone gives nothing; the collector does not keep it.

    It may be asked from any thread. No text of a prompt or an answer, no header and no error is in what it gives.
    """

    def __init__(self, pool: View, name: str | None = None, *, agents: bool = True) -> None:
        self._name = type(pool).__name__ if name is None else text("name", name)
        self._with_agents = agents
        self._tree = weakref.ref(pool._tree)  # noqa: SLF001 - the inside of one of ours
        self._agents = pool._agents  # noqa: SLF001 - the same

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        tree = self._tree()
        if tree is None:
            return
        yield from self._of_pool(tree.statistics(len(self._agents)))
        if self._with_agents:
            yield from self._of_agents(tree.agent_statistics(self._agents))

    def describe(self) -> Iterator[Metric]:
        """No figure is promised, so that several pools can be in one registry."""
        return iter(())

    def _of_pool(self, now: PoolStatistics) -> Iterator[Metric]:
        for place, counts in _GAUGES.items():
            yield self._gauge(place, counts, _at(now, place))
        for place, counts in _COUNTERS.items():
            yield self._counter(place, counts, _at(now, place))
        failed = CounterMetricFamily(
            "swarmpool_requests_failed", "Requests that failed, by kind.", labels=["pool", "kind"]
        )
        for kind, times in now.requests.failures.items():
            failed.add_metric([self._name, kind.value], times)
        yield failed

    def _of_agents(self, agents: list[AgentStatistics]) -> Iterator[Metric]:
        labels = ["pool", "agent"]
        load = GaugeMetricFamily("swarmpool_agent_load", "Requests in flight to it and waiting for it.", labels=labels)
        sent = CounterMetricFamily("swarmpool_agent_sent", "Requests that got a slot for it.", labels=labels)
        ejected = GaugeMetricFamily("swarmpool_agent_ejected", "1 if its breaker is not closed.", labels=labels)
        cap = GaugeMetricFamily("swarmpool_agent_cap", "Requests it may have in flight now.", labels=labels)
        for url, same in _by_url(agents).items():
            load.add_metric([self._name, url], sum(agent.load for agent in same))
            sent.add_metric([self._name, url], sum(agent.sent for agent in same))
            ejected.add_metric([self._name, url], same[0].breaker is not BreakerState.CLOSED)
            if same[0].cap is not None:
                cap.add_metric([self._name, url], same[0].cap)
        yield from (load, sent, ejected, cap)

    def _gauge(self, place: str, counts: str, value: float) -> Metric:
        family = GaugeMetricFamily(_metric(place), counts, labels=["pool"])
        family.add_metric([self._name], value)
        return family

    def _counter(self, place: str, counts: str, value: float) -> Metric:
        family = CounterMetricFamily(_metric(place), counts, labels=["pool"])
        family.add_metric([self._name], value)
        return family


def _metric(place: str) -> str:
    return f"swarmpool_{place.replace('.', '_')}"


def _at(record: object, place: str) -> float:
    for name in place.split("."):
        record = getattr(record, name)
    assert isinstance(record, int | float)
    return record


def _by_url(agents: list[AgentStatistics]) -> dict[str, list[AgentStatistics]]:
    """An agent that is listed twice is one server: its breaker and its cap are one, and its requests are added up."""
    found: dict[str, list[AgentStatistics]] = {}
    for agent in agents:
        found.setdefault(agent.endpoint.url, []).append(agent)
    return found
