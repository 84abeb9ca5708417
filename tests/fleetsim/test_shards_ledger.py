from __future__ import annotations

from typing import Any

import pytest

from fleetsim import LedgerTimeoutError
from fleetsim.shards.ledger import ShardedLedger
from fleetsim.shards.shard import Shard, ShardState

FIGURES: dict[str, Any] = {
    "opened": 5,
    "closed": 3,
    "reused": 7,
    "open_now": 2,
    "peak_open": 4,
    "requests": 12,
    "in_flight": 1,
    "peak_in_flight": 3,
    "requests_per_connection": {"1": 2, "10": 1},
    "dropped": 0,
    "websockets": 4,
    "websockets_open": 1,
    "peak_websockets": 3,
    "messages_in": 9,
    "messages_out": 8,
}


def ended(number: int, figures: dict[str, Any] | None) -> Shard:
    """A shard that has ended with these figures."""
    shard = Shard(number, range(number, number + 1))
    shard.state, shard.last_figures = ShardState.ENDED, figures
    return shard


def ledger_of(*each: dict[str, Any] | None) -> ShardedLedger:
    shards = [ended(number, figures) for number, figures in enumerate(each)]
    return ShardedLedger(shards, lambda server: shards[server])


async def test_figures_are_sums_and_peaks_are_bounds() -> None:
    other = FIGURES | {"peak_open": 2, "requests_per_connection": {"1": 3, "2": 1}, "dropped": 8}
    whole = await ledger_of(FIGURES, other).snapshot()
    assert (whole.opened, whole.closed, whole.reused, whole.open_now, whole.requests, whole.in_flight) == (
        *(10, 6, 14),
        *(4, 24, 2),
    )
    assert (whole.peak_open_at_most, whole.peak_in_flight_at_most) == (6, 6)
    assert (whole.requests_per_connection, whole.dropped) == ({1: 5, 2: 1, 10: 1}, 8)
    assert (whole.websockets, whole.websockets_open, whole.peak_websockets_at_most) == (8, 2, 6)
    assert (whole.messages_in, whole.messages_out) == (18, 16)


async def test_what_is_lost_is_said_and_counts_for_nothing() -> None:
    ledger = ledger_of(FIGURES, None)
    ledger.lost.append(1)
    whole = await ledger.snapshot()
    assert (whole.opened, whole.lost) == (5, (1,))


async def test_what_has_ended_is_waited_for_no_longer_than_it_takes_to_look() -> None:
    ledger = ledger_of(FIGURES, FIGURES)
    await ledger.wait_for(timeout=None, opened=10, open_now=4)
    with pytest.raises(LedgerTimeoutError, match="wanted open_now=0, have open_now=4"):
        await ledger.wait_for(timeout=None, open_now=0)
    with pytest.raises(TypeError, match="wait_for needs at least one figure of opened, closed, reused, open_now"):
        await ledger.wait_for()
