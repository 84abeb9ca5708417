"""What hunts have found, as the shrunk plans that found it. Each was watched to fail before it was mended."""

from __future__ import annotations

import pytest
from hunt import AGENT_POOL, CALM, Kind, attempt
from hunt.steps import AskMany, Batch, Fault, Network, Setup, Step, Stream

FOUND: dict[str, tuple[Kind, list[Step]]] = {
    # A plain agent's answer that the engine gave up midway looked like a whole one.
    "an answer given up midway is no success": (
        AGENT_POOL,
        [Batch(call=1, tokens=8), Fault(at=0.09, fault="sleep", times=None, lasting=1.0)],
    ),
    # The breaker was told of a hedged try a turn of the loop after the agent had been chosen for it, and two tries that
    # were chosen in one turn both took themselves for the probe: RuntimeError came out of `send_all`.
    "two requests in one turn are one probe": (
        AGENT_POOL,
        [
            Setup(concurrency=3, connector_limit=4, failures=1, hedge_after=0.1, routing="two"),
            Stream(call=7, agent=1),
            Network(what="kill", agent=1),
            AskMany(at=3.0776, call=4),
        ],
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_stays_away(what: str) -> None:
    kind, plan = FOUND[what]
    for seed in (702, 75, 1, 2):
        error = attempt(kind, plan, seed, **CALM)
        if error is not None:
            raise error
