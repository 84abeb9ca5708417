"""What Prometheus scrapes is what `statistics()` says, under the same words."""

from __future__ import annotations

import dataclasses
import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, http, says

from swarmpool import AgentPool, Health

pytest.importorskip("prometheus_client", reason="needs prometheus-client, of the dependency group `test`")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from swarmpool.prometheus import PoolCollector

# Of a `PoolStatistics`, what is no figure of its own: names, limits that others tell, and what has labels.
NOT_A_FIGURE = {"state", "concurrency", "concurrency_per_agent", "admission.capacity", "requests.failed"}
UNLABELLED = NOT_A_FIGURE | {"requests.failures"}


def scraped(*collectors: PoolCollector) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample of a scrape, by name and labels; `pool` left out."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return {
        (sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if name != "pool"))): (
            sample.value
        )
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def figures(record: dict[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, dict) and place + name not in UNLABELLED:
            yield from figures(value, f"{place}{name}.")
        elif place + name not in UNLABELLED:
            yield place + name, value


def sometimes(connection: RawConnection) -> None:
    """A refusal first, then answers."""
    served = len(connection.requests)
    connection.write(says() if served > 1 else http(b"", status="503 Service Unavailable"))


async def test_every_figure_of_statistics_is_scraped_under_its_word() -> None:
    async with RawAgent(sometimes) as agent, AgentPool([agent.endpoint] * 2) as pool:
        for _ in range(4):
            await pool.post(0, "hi")
        found = scraped(PoolCollector(pool))
        now = dataclasses.asdict(pool.statistics())
        told = {name.removesuffix("_total"): value for (name, labels), value in found.items() if not labels}
        assert told == {f"swarmpool_{place.replace('.', '_')}": value for place, value in figures(now)}
    assert found["swarmpool_requests_succeeded_total", ()] == 3
    assert found["swarmpool_requests_failed_total", (("kind", "status"),)] == 1
    assert found["swarmpool_connections_reused_total", ()] == 3
    assert found["swarmpool_agent_sent_total", (("agent", agent.endpoint.url),)] == 4


async def test_counters_and_gauges_are_what_they_are_and_have_help() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        registry = CollectorRegistry()
        registry.register(PoolCollector(pool))
        families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    kinds = {family.name: family.type for family in families}
    assert kinds["swarmpool_connections_opened"] == "counter"
    assert kinds["swarmpool_connections_open"] == "gauge"
    assert kinds["swarmpool_agent_load"] == "gauge"
    assert [family.name for family in families if not family.documentation] == []


async def test_an_ejected_agent_shows_and_a_view_gives_its_own_agents_only() -> None:
    async with RawAgent() as agent:
        dead = ("127.0.0.1", 1)
        async with AgentPool([agent.endpoint, dead], health=Health(failures=1)) as pool:
            await pool.post(1, "hi")
            found = scraped(PoolCollector(pool))
            assert found["swarmpool_agent_ejected", (("agent", agent.endpoint.url),)] == 0
            assert found["swarmpool_agent_ejected", (("agent", "http://127.0.0.1:1"),)] == 1
            assert found["swarmpool_care_ejected_now", ()] == 1
            of_view = scraped(PoolCollector(pool.slice(0, 1)))
            assert of_view["swarmpool_size", ()] == 1
            assert ("swarmpool_agent_ejected", (("agent", "http://127.0.0.1:1"),)) not in of_view
            assert not any(
                labels for _, labels in scraped(PoolCollector(pool, agents=False)) if "kind" not in dict(labels)
            )


async def test_the_cap_of_an_agent_is_given_where_there_is_one() -> None:
    async with AgentPool([("node0", 8000)], concurrency_per_agent=7) as capped, AgentPool([("node0", 8000)]) as free:
        of_node0 = ("swarmpool_agent_cap", (("agent", "http://node0:8000"),))
        assert scraped(PoolCollector(capped))[of_node0] == 7
        assert of_node0 not in scraped(PoolCollector(free))


async def test_two_pools_in_one_registry_are_told_apart_by_their_name() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as one, AgentPool([agent.endpoint]) as other:
        await one.post(0, "hi")
        registry = CollectorRegistry()
        registry.register(PoolCollector(one, "one"))
        registry.register(PoolCollector(other, "other"))
        asked = {
            name: registry.get_sample_value("swarmpool_requests_succeeded_total", {"pool": name})
            for name in ("one", "other")
        }
    assert asked == {"one": 1, "other": 0}


async def test_a_scrape_may_come_from_another_thread() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        found: list[float] = []
        thread = threading.Thread(target=lambda: found.append(scraped(PoolCollector(pool))["swarmpool_size", ()]))
        thread.start()
        thread.join()
    assert found == [1]


def test_the_collector_does_not_keep_the_pool() -> None:
    pool = AgentPool([("127.0.0.1", 1)])
    collector = PoolCollector(pool.slice(0, 1))
    assert scraped(collector)
    del pool
    gc.collect()
    assert scraped(collector) == {}


async def test_a_pool_that_has_closed_still_gives_its_last_figures() -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        await pool.post(0, "hi")
    found = scraped(PoolCollector(pool))
    assert (found["swarmpool_connections_opened_total", ()], found["swarmpool_connections_open", ()]) == (1, 0)


def test_without_prometheus_client_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "swarmpool.prometheus")
    for name in [name for name in sys.modules if name.split(".")[0] == "prometheus_client"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'swarmpool\[prometheus\]'"):
        import swarmpool.prometheus  # noqa: F401 - the refusal is what is tested
