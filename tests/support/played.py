"""A pool and a fleet, together in a simulated world: minutes take a moment, and afterwards both ledgers must agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import simkernel
from fleetsim import Fleet, Profile
from simkernel import Net
from swarmpool import AgentEndpoint, PoolEvent, VLLMPool

__all__ = ["kinds", "played"]

R = TypeVar("R")

QUICK = Profile(ttft=0.02, itl=0.001)


def played(
    work: Callable[[Fleet, VLLMPool], Awaitable[R]],
    agents: int = 2,
    *,
    profile: Profile = QUICK,
    seed: int = 1,
    weights: Sequence[int] | None = None,
    dials_cancelled: bool = False,
    **options: Any,
) -> R:
    """What `work` returns. Afterwards both ledgers are equal (but for one of `dials_cancelled`) and nothing is left.

    `weights` are tags of the agents.
    """

    async def main(_: Net) -> R:
        async with Fleet(agents, profile=profile, seed=seed) as fleet:
            pool = VLLMPool(
                [
                    AgentEndpoint(server.host, server.port, {} if weights is None else {"weight": str(weights[place])})
                    for place, server in enumerate(fleet.endpoints)
                ],
                **{"model": "sim", "max_tokens": 4, "model_max_context": 4096, "seed": seed, **options},
            )
            async with pool:
                value = await work(fleet, pool)
            now = pool.statistics()
            assert (now.admission.in_flight, now.admission.waiting, now.connections.open) == (0, 0, 0)
            assert all(agent.load == 0 for agent in pool._agents)
            await fleet.ledger.wait_for(open_now=0, in_flight=0)
            # A dial that is cancelled may have been accepted, and a connection that ends at once may not.
            accepted = fleet.ledger.opened - now.connections.opened
            assert abs(accepted) <= int(dials_cancelled)
        return value

    result = simkernel.run(main, seed=seed)
    assert result.unhandled == []
    return cast(R, result.value)  # it has one, or `run` has raised


def kinds(seen: list[PoolEvent]) -> list[str]:
    """The kinds of those events."""
    return [event.kind.value for event in seen]
