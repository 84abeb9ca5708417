from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest
import virtual_time

from swarmpool.agents import Agent
from swarmpool.care import Care, CareOptions
from swarmpool.endpoints import AgentEndpoint
from swarmpool.events import PoolEvent, PoolEventKind
from swarmpool.health import BreakerState, Health
from swarmpool.retry import Retry
from swarmpool.routing import PowerOfTwo

NODE = Agent(AgentEndpoint("node", 8000), 0)
SAME_NODE = Agent(AgentEndpoint("node", 8000), 7)


def test_without_health_there_are_no_breakers() -> None:
    care = Care(CareOptions())
    assert care.breaker(NODE) is None
    assert care.state(NODE) is BreakerState.CLOSED
    assert care.plain


def test_an_agent_that_is_listed_twice_has_one_breaker() -> None:
    care = Care(CareOptions(health=Health()))
    assert care.breaker(NODE) is care.breaker(SAME_NODE)
    assert not care.plain


def test_what_a_breaker_does_is_an_event() -> None:
    seen: list[PoolEvent] = []
    care = Care(CareOptions(health=Health(failures=1), on_event=seen.append))
    breaker = care.breaker(NODE)
    assert breaker is not None
    breaker.failed(1.0, "refused", probe=False)
    breaker.begin(6.0)
    breaker.succeeded(7.0, probe=True)
    assert [(event.kind, event.at, event.url) for event in seen] == [
        ("ejected", 1.0, "http://node:8000"),
        ("probing", 6.0, "http://node:8000"),
        ("returned", 7.0, "http://node:8000"),
    ]
    assert care.ejected([NODE]) == 0


def test_a_pause_ends_when_its_time_is_over_or_when_it_is_woken() -> None:
    async def main() -> tuple[float, float]:
        care, loop = Care(CareOptions()), asyncio.get_running_loop()
        begun = loop.time()
        await care.pause(3.0)
        first = loop.time()
        loop.call_later(1.0, care.wake)
        await asyncio.gather(care.pause(99.0), care.pause(98.0))
        return first - begun, loop.time() - first

    assert virtual_time.run(main) == (3.0, 1.0)


def test_a_cancelled_pause_leaves_no_timer() -> None:
    async def main() -> None:
        care = Care(CareOptions())
        pausing = asyncio.create_task(care.pause(99.0))
        await asyncio.sleep(0)
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
        care.wake()

    virtual_time.run(main)  # which fails if a timer is left


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"retry": 3}, "retry must be a Retry or None, not 3"),
        ({"health": True}, "health must be a Health or None, not True"),
        ({"hedge": 0.5}, "hedge must be a Hedge or None, not 0.5"),
        ({"seed": "x"}, "seed must be a whole number or None, not 'x'"),
        ({"routing": "random"}, "routing must be an object with choose"),
        ({"routing": PowerOfTwo}, "routing must be an object with choose"),
        ({"on_event": 1}, "on_event must be callable or None, not 1"),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], error: str) -> None:
    with pytest.raises(TypeError, match=f"^{error}"):
        CareOptions(**options)


def test_retry_alone_is_not_plain() -> None:
    assert not Care(CareOptions(retry=Retry())).plain


def test_statistics_have_a_count_for_each_kind_of_event() -> None:
    care = Care(CareOptions(health=Health(failures=1)))
    breaker = care.breaker(NODE)
    assert breaker is not None
    breaker.failed(1.0, "refused", probe=False)
    now = care.statistics([NODE])
    assert (now.ejected_now, now.ejected, now.returned) == (1, 1, 0)
    assert {field.name for field in fields(now)} == {"ejected_now", *(kind.value for kind in PoolEventKind)}
