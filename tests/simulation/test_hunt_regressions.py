"""What hunts have found, as the shrunk plans that found it. Each was watched to fail before it was mended."""

from __future__ import annotations

from typing import Any

import pytest
from hunt import AGENT_POOL, CALM, CONTENDED, VLLM_POOL, Kind, attempt
from hunt.steps import Ask, AskMany, Batch, CancelAfter, Fault, Network, Setup, Step, Stream, Warm

FOUND: dict[str, tuple[Kind, int, dict[str, Any], list[Step]]] = {
    # A plain agent's answer that the engine gave up midway looked like a whole one.
    "an answer given up midway is no success": (
        AGENT_POOL,
        75,
        CALM,
        [Batch(call=1, tokens=8), Fault(at=0.09, fault="sleep", times=None, lasting=1.0)],
    ),
    # The breaker was told of a hedged try a turn of the loop after the agent had been chosen for it, and two tries that
    # were chosen in one turn both took themselves for the probe: RuntimeError came out of `send_all`.
    "two requests in one turn are one probe": (
        AGENT_POOL,
        702,
        CALM,
        [
            Setup(concurrency=3, connector_limit=4, failures=1, hedge_after=0.1, routing="two"),
            Stream(call=7, agent=1),
            Network(what="kill", agent=1),
            AskMany(at=3.0776, call=4),
        ],
    ),
    # `prewarm` made a task of the exchanges that had their slots; cancelled before its first step, it ended none.
    "prewarming that is cancelled keeps no slot": (
        AGENT_POOL,
        1,
        CALM,
        [
            Setup(connector_limit=1),
            Ask(call=1),
            Warm(call=2),
            CancelAfter(call=2, of=2, moment="granted", turns=2),
        ],
    ),
    "prewarming that is refused in its middle keeps no slot": (
        AGENT_POOL,
        1,
        CALM,
        [
            Setup(concurrency=3, connector_limit=3, per_agent=1, max_waiting=1),
            Ask(call=0, agent=1),
            Ask(call=1, agent=1),
            Warm(at=0.01, call=2),
        ],
    ),
    # Each had one slot, and waited for the other's.
    "two that prewarm do not wait for one another": (
        AGENT_POOL,
        1,
        CALM,
        [
            Setup(agents=1),
            Ask(call=0, tokens=2),
            Ask(call=1, tokens=8),
            Warm(at=0.01, call=2, per_agent=2),
            Warm(at=0.02, call=3, per_agent=2),
        ],
    ),
    # A stream whose first try had failed in its body, and which was then dropped, kept its slot: the error that
    # aiohttp's reader remembers led by its traceback to the stream.
    "a stream that is dropped in its second try gives its slot back at once": (
        VLLM_POOL,
        934,
        CONTENDED,
        [
            Setup(per_agent=1, tries=5, unsafe=True),
            Ask(call=2),
            Stream(call=5, leave_after=1, how="drop"),
            Network(at=0.19, what="reset"),
        ],
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_stays_away(what: str) -> None:
    kind, seed, settings, plan = FOUND[what]
    error = attempt(kind, plan, seed, **settings)
    if error is not None:
        raise error
