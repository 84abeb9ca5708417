"""Our pool on our fleet, both as they are, in a simulated world: minutes take a moment, and a seed repeats them."""

from __future__ import annotations

import asyncio
import random

import pytest

import simkernel
from fleetsim import Fleet, Profile
from simkernel import Net
from swarmpool import VLLMPool

_AGENTS, _SOCKETS, _PROMPTS = 4, 6, 40


async def work(net: Net, *, with_faults: bool) -> dict[str, int]:
    """Prompts from callers of whom some give up; returns figures that both ledgers agree on."""
    chance = random.Random(f"work {net.seed}")
    async with Fleet(_AGENTS, profile=Profile(ttft=0.2, itl=0.02), seed=net.seed) as fleet:
        async with VLLMPool(fleet.endpoints, connector_limit=_SOCKETS) as pool:
            if with_faults:
                plan_faults(net, chance, [(server.host, server.port) for server in fleet.endpoints])
            callers = [asyncio.create_task(ask(pool, chance.uniform(0, 8), number)) for number in range(_PROMPTS)]
            for caller in chance.sample(callers, _PROMPTS // 8):
                asyncio.get_running_loop().call_later(chance.uniform(0, 10), caller.cancel)
            answers = await asyncio.gather(*callers, return_exceptions=True)
            net.heal()
            await asyncio.sleep(60)  # idle connections expire, and what was lost on the way is over
            ours = pool.statistics().connections
            requests = pool.statistics().requests
            assert ours.open == ours.acquired == ours.dialing == 0
            assert ours.peak_open <= _SOCKETS
            await fleet.ledger.wait_for(open_now=0, in_flight=0)
        return {
            "answers": sum(answer is True for answer in answers),
            "cancelled": sum(isinstance(answer, asyncio.CancelledError) for answer in answers),
            "succeeded": requests.succeeded,
            "our requests": pool.statistics().admission.attempts,  # with the one that asks for the model's name
            "our connections": ours.opened,
            "our closed": ours.closed,
            "their connections": fleet.ledger.opened,
            "their closed": fleet.ledger.closed,
            "their requests": fleet.ledger.requests,
        }


async def ask(pool: VLLMPool, after: float, number: int) -> bool:
    await asyncio.sleep(after)
    return bool((await pool.post(number % _AGENTS, f"prompt {number}")).success)


def plan_faults(net: Net, chance: random.Random, servers: list[tuple[str, int]]) -> None:
    for strike in (net.partition, net.refuse, net.fill_backlog):
        strike(chance.choice(servers), after=chance.uniform(0.1, 8), lasting=chance.uniform(0.1, 3))
    net.slow(chance.choice(servers), factor=20, after=chance.uniform(0.1, 8), lasting=2)
    net.reset(chance.choice(servers), after=chance.uniform(0.1, 8))


@pytest.mark.parametrize("seed", range(20))
def test_both_ledgers_are_equal_when_quiet(seed: int) -> None:
    result = simkernel.run(lambda net: work(net, with_faults=False), seed=seed)
    figures = result.value
    assert figures is not None
    assert result.unhandled == []
    assert figures["our connections"] == figures["their connections"] == result.statistics.connections
    assert figures["our closed"] == figures["their closed"] == figures["their connections"]
    assert figures["answers"] == figures["succeeded"]
    assert figures["answers"] + figures["cancelled"] == _PROMPTS
    assert figures["answers"] <= figures["their requests"] <= figures["our requests"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_network_does_nothing_is_left_open(seed: int) -> None:
    result = simkernel.run(lambda net: work(net, with_faults=True), seed=seed)
    figures = result.value
    assert figures is not None
    assert result.unhandled == []
    assert result.statistics.open_connections == 0
    assert figures["their closed"] == figures["their connections"]
    assert figures["our closed"] == figures["our connections"]


def test_a_seed_is_the_same_every_time() -> None:
    simkernel.verify(lambda net: work(net, with_faults=True), seed=4711)
