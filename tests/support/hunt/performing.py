"""What each step does, by its class. Steps that make callers are in `calling.py`."""

from __future__ import annotations

import asyncio
import operator
from functools import partial, singledispatch
from typing import Any

from hunt.calling import call
from hunt.steps import (
    CallStep,
    Cancel,
    CancelAfter,
    Close,
    CloseAfter,
    Drop,
    Fault,
    Network,
    Prewarm,
    Setup,
    Step,
    View,
)
from hunt.world import World

__all__ = ["perform"]


@singledispatch
def perform(step: Step, world: World) -> None:
    """Do what the step says, now."""
    raise NotImplementedError(f"no performer for {step!r}")


@perform.register
def _(step: Setup, world: World) -> None:
    """It has been set up by then."""


@perform.register
def _(step: CallStep, world: World) -> None:
    if step.call not in world.calls:
        call(step, world)


@perform.register
def _(step: View, world: World) -> None:
    parent = world.views.get(step.of, world.pool)
    if "views" in world.kind.lacks or world.closings or not parent.size:
        return
    if step.how == "by_tag":
        made = parent.by_tag("rack", str(step.first % 2))
    elif step.how == "sample":
        made = parent.sample(step.count, seed=step.first)
    elif step.how == "select":
        made = parent.select(each % parent.size for each in range(step.first, step.first + step.count))
    else:
        made = parent.slice(step.first, step.first + step.count)
    if made.size:
        world.views[step.view] = made


@perform.register
def _(step: Drop, world: World) -> None:
    world.views.pop(step.view, None)


@perform.register
def _(step: Cancel, world: World) -> None:
    _cancel(world, step.call)


@perform.register
def _(step: CancelAfter, world: World) -> None:
    cancel = partial(_cancel, world, step.call)
    strike = partial(world.loop.call_after_turns, step.turns - 1, cancel) if step.turns else cancel
    world.when(step.moment, step.of, strike)


@perform.register
def _(step: Prewarm, world: World) -> None:
    if "websockets" in world.kind.lacks or world.closings:
        return
    agent = step.agent % len(world.fleet)
    sockets = world.websockets(world.pool, agent, agent)
    world.ledgers[agent].prewarmed = max(world.ledgers[agent].prewarmed, step.count)
    sockets.prewarm(step.count)


@perform.register
def _(step: CloseAfter, world: World) -> None:
    close = partial(_close, step, world)
    after = partial(world.loop.call_after_turns, step.turns - 1, close) if step.turns else close
    world.when(step.moment, step.of, after)


@perform.register
def _(step: Close, world: World) -> None:
    _close(step, world)


def _close(step: Close, world: World) -> None:
    closing = asyncio.ensure_future(world.pool.close(step.drain))
    world.closings.append(closing)
    if step.give_up is None:
        world.closed_by = min(world.closed_by, world.now() + step.drain)
        closing.add_done_callback(world.is_closed)
    else:
        world.loop.call_after_turns(step.give_up, closing.cancel)
    world.loop.call_after_turns(1, world.is_closing)


@perform.register
def _(step: Network, world: World) -> None:
    if step.what == "dns_fail":
        world.disturb(None)
        world.net.dns_fail("localhost", lasting=step.lasting)
        return
    strike: Any = operator.attrgetter(step.what)(world.net)
    options: dict[str, Any] = {}
    if step.what in ("partition", "refuse", "fill_backlog", "slow", "bandwidth"):
        options["lasting"] = step.lasting
    if step.what == "slow":
        options["factor"] = float(step.amount)
    elif step.what == "bandwidth":
        options["bytes_per_second"] = 1000.0 * step.amount
    elif step.what == "lose_syn":
        options["count"] = step.amount
    elif step.what == "kill":
        world.dead.update(range(len(world.fleet)) if step.agent is None else {step.agent % len(world.fleet)})
    world.severed |= step.what == "blackhole"
    world.disturb(step.agent)
    strike(world.target(step.agent), **options)


@perform.register
def _(step: Fault, world: World) -> None:
    world.disturb(step.agent)
    where = None if step.agent is None else {"server": step.agent % len(world.fleet)}
    world.fleet.fault(step.fault, times=step.times, for_=step.lasting, where=where)


def _cancel(world: World, number: int) -> None:
    asked = world.calls.get(number)
    if asked is not None and asked.task is not None and asked.task.cancel():
        asked.was_cancelled = True
        asked.cancelled_at = world.now() if asked.cancelled_at is None else asked.cancelled_at
