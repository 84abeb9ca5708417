"""From a plan to a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from fleetsim import Fleet
from fleetsim.server import FleetEndpoint
from hunt.answering import PROFILE, answers_told_to
from hunt.calling import ask
from hunt.kinds import Kind
from hunt.oracles import ORACLES
from hunt.performing import perform
from hunt.steps import Setup, Step
from hunt.world import Call, World
from simkernel import Net
from swarmpool import AgentEndpoint

__all__ = ["Broken", "carry_out"]

_PATIENCE = 1200.0
"""Seconds after which what is pending with all faults over will never end: retransmissions are given up after 924."""
_REST = 60.0
"""Seconds in which idle connections expire at both ends."""
_LONG_REST = 1200.0
"""The same where a connection may have lost its peer without being told."""
_PROMPT = 7.0
"""Seconds in which a few requests are answered when all is well: idle websockets may have to give way first, up to
5 seconds where the peer is gone."""
_WHILE = 1.0
"""Seconds in which an agent that is well has answered a probe, and what is to happen in a few turns has happened."""
_FIRST_TRY = 1000
"""The number of the first call that tries a slot."""


class Broken(AssertionError):
    """An oracle has complained. The first complaint is the message; the rest are in a note."""


async def carry_out(net: Net, kind: Kind, plan: Sequence[Step]) -> None:
    """Do what the plan says with a pool of that kind. Raises Broken."""
    setup = next((step for step in plan if isinstance(step, Setup)), Setup())
    worlds: list[World] = []
    fleet = Fleet(
        setup.agents,
        profile=PROFILE,
        seed=net.seed,
        tags=lambda index: {"rack": str(index % 2)},
        answer=answers_told_to(worlds, net.seed),
    )
    async with fleet:
        world = World(net, kind, fleet, setup)
        worlds.append(world)
        await _play(world, plan)
    await asyncio.sleep(0)  # a transport's socket is closed in the turn after
    for oracle in world.oracles:
        oracle.over()
    _judge(world)


async def _play(world: World, plan: Sequence[Step]) -> None:
    world.tasks_before = asyncio.all_tasks()
    world.pool = await world.kind.open(_endpoints(world), world.setup)
    world.oracles[:] = [oracle(world) for oracle in ORACLES]
    for oracle in world.oracles:
        oracle.begin()
    await _do(world, plan)
    await _come_to_rest(world)
    if not world.closings:
        await _try_every_slot(world)
    await _close(world)


def _endpoints(world: World) -> Sequence[AgentEndpoint | FleetEndpoint]:
    there = world.fleet.endpoints
    return [AgentEndpoint("localhost", each.port, each.tags) for each in there] if world.setup.named else there


async def _do(world: World, plan: Sequence[Step]) -> None:
    start = world.now()
    for step in plan:
        if step.at <= 0:
            perform(step, world)
        else:
            world.loop.call_at(start + step.at, perform, step, world)
    await asyncio.sleep(max((step.at for step in plan), default=0.0) + 0.001)


async def _come_to_rest(world: World) -> None:
    """End every fault, and wait for everybody."""
    world.net.heal()
    world.fleet.faults.clear()
    await world.fleet.faults.settled()
    await _everybody_ends(world)
    await asyncio.sleep(_LONG_REST if world.disturbed else _REST)
    for oracle in world.oracles:
        oracle.at_rest()


async def _everybody_ends(world: World) -> None:
    await _in_patience([call.task for call in world.calls.values() if call.task is not None])
    await asyncio.sleep(_WHILE)  # the end of a call may bring about a close, some turns of the loop later
    await _in_patience(world.closings)
    if not all(closing.done() for closing in world.closings):
        world.complain("all faults are over, and close() never returns")
    for call in world.calls.values():
        if call.task is not None and not call.task.done():
            world.complain(f"all faults are over, and {call} never ends: {call.task.get_stack(limit=1)}")
            call.task.cancel()


async def _in_patience(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=_PATIENCE)


async def _try_every_slot(world: World) -> None:
    """As many callers as there are slots, all at once: each is served at once, by an agent that is well."""
    setup = world.setup
    alive = [agent for agent in range(setup.agents) if agent not in world.dead]
    slots = min(setup.limit, len(alive) * (setup.per_agent or setup.limit))
    await _let_breakers_close(world, alive)
    at_least = slots - _in_reserve(world)
    began, before = world.now(), set(world.disturbed)
    world.disturbed.clear()
    calls = [ask(world, _FIRST_TRY + number, alive[number % len(alive)], 4) for number in range(slots)]
    together = _together(world, calls)
    await _everybody_ends(world)
    world.disturbed |= before
    answered = sum(bool(call.results) and call.results[0].success for call in calls)
    if max(together) < at_least or answered < at_least or world.now() - began > _PROMPT:
        told = [call.results or call.raised for call in calls]
        world.complain(
            f"all is well again, and of {slots} slots {max(together)} work at once and {answered} bring an answer, "
            f"within {world.now() - began:.1f} s: {told}"
        )
    await asyncio.sleep(_REST)
    for oracle in world.oracles:
        oracle.at_rest()


async def _let_breakers_close(world: World, alive: list[int]) -> None:
    """Callers to each agent, one after the other: the first may be told that the agent is being probed."""
    for agent in 2 * alive if world.setup.failures is not None else ():
        ask(world, 2 * _FIRST_TRY + len(world.calls), agent, 1)
        await _everybody_ends(world)


def _in_reserve(world: World) -> int:
    """Sockets of idle websockets, which give way once they have said goodbye: who waits for them may be refused."""
    return world.pool.statistics().admission.kept if world.ledgers else 0


def _together(world: World, calls: list[Call]) -> list[int]:
    """How many of them servers were busy with, each time another one came."""
    counts = [0]
    for call in calls:
        world.when("arrived", call.number, lambda: counts.append(len({each.call for each in world.at_work} & {*calls})))
    return counts


async def _close(world: World) -> None:
    await _in_time(world, world.pool.close(), "close() does not return")
    for oracle in world.oracles:
        oracle.closed()
    await asyncio.sleep(_LONG_REST if world.disturbed else _REST)
    for oracle in world.oracles:
        oracle.long_closed()


async def _in_time(world: World, work: Awaitable[object], complaint: str) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=_PATIENCE)
    if not task.done():
        world.complain(complaint)
        task.cancel()
    elif not task.cancelled() and task.exception() is not None:
        world.complain(f"{complaint} but raises {task.exception()!r}")


def _judge(world: World) -> None:
    if world.complaints:
        first, *rest = world.complaints
        error = Broken(first)
        for complaint in rest[:20]:
            error.add_note(f"then {complaint}")
        raise error
