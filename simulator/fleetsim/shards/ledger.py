"""The ledger over several processes: each shard counts for itself, and what is asked is added up.

Counters and gauges are exact sums, each shard's at an instant of its own; when the fleet is quiet, that is one instant.
The peak of a sum is no sum of peaks: what is known of it is that it was at most that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from fleetsim.errors import LedgerTimeoutError
from fleetsim.ledger import LedgerSnapshot, check_figures, has_come_to
from fleetsim.shards.elsewhere import OF_LEDGERS, no_such_name
from fleetsim.shards.shard import Shard, ShardState
from fleetsim.shards.together import one_error, together

__all__ = ["ShardedFigures", "ShardedLedger", "ShardedSnapshot", "summed"]


class ShardedFigures(TypedDict, total=False):
    """The figures one can wait for: gauges (`open_now`, `in_flight`, `websockets_open`) exactly, others at least."""

    opened: int
    closed: int
    reused: int
    open_now: int
    requests: int
    in_flight: int
    websockets: int
    websockets_open: int
    messages_in: int
    messages_out: int


_NAMES = tuple(ShardedFigures.__annotations__)


@dataclass(frozen=True, slots=True)
class ShardedSnapshot:
    """Every figure over all shards, as `Ledger` explains them, each shard's at an instant of its own.

    The peaks whose names end in `_at_most` are the sums of the shards' peaks. `lost` names the shards whose
    process ended unasked, once for each time: what they had counted until then is gone.
    """

    opened: int
    closed: int
    reused: int
    open_now: int
    requests: int
    in_flight: int
    peak_open_at_most: int
    peak_in_flight_at_most: int
    requests_per_connection: Mapping[int, int]
    dropped: int
    websockets: int
    websockets_open: int
    peak_websockets_at_most: int
    messages_in: int
    messages_out: int
    lost: tuple[int, ...]


class ShardedLedger:
    """The account of a fleet over `shards`. All calls are for the fleet's loop; any number may run at once."""

    def __init__(self, shards: Sequence[Shard], home: Callable[[int], Shard]) -> None:
        self._shards, self._home = shards, home
        self.lost: list[int] = []

    if not TYPE_CHECKING:  # for whoever knows `Ledger`, and is told at run time

        def __getattr__(self, name: str) -> NoReturn:
            no_such_name(self, name, OF_LEDGERS)

    async def snapshot(self) -> ShardedSnapshot:
        """Return the figures of all; the last ones when the fleet has ended.

        Raises ControlError when a shard goes while it is asked. Cancelling it changes nothing.
        """
        figures = await together(_figures(shard) for shard in self._shards)
        return summed([each for each in figures if each is not None], tuple(self.lost))

    async def snapshot_of(self, server: int) -> LedgerSnapshot:
        """Return one server's figures, as they were at one instant, its peaks included.

        Raises ControlError when its process is gone, IndexError for a server there is not.
        """
        figures = await self._home(server).call("figures", server=server)
        return LedgerSnapshot(**figures | {"requests_per_connection": _histogram(figures)})

    async def wait_for(self, *, timeout: float | None = 5.0, **figures: Unpack[ShardedFigures]) -> None:
        """Return when the sums over all shards are the `figures`: gauges equal, counters at least as high.

        Raises LedgerTimeoutError (a TimeoutError) with the wanted and the present figures after `timeout` seconds
        (None: never), TypeError for a figure there is not, ControlError when a shard is lost meanwhile. Cancelling it
        changes nothing.
        """
        wanted = check_figures(figures, _NAMES)
        watch = _Watch(wanted, [shard.last_figures for shard in self._shards if shard.last_figures is not None])
        try:
            async with asyncio.timeout(timeout):
                await watch.until_reached([shard for shard in self._shards if shard.state is ShardState.SERVING])
        except TimeoutError:
            raise LedgerTimeoutError(timeout or 0.0, wanted, watch.present()) from None


class _Watch:
    """The shards' figures, followed until their sums are those wanted: a shard answers when its own change."""

    def __init__(self, wanted: Mapping[str, int], last: Sequence[Mapping[str, int]]) -> None:
        self._wanted, self._last = wanted, last
        self._seen: dict[int, Mapping[str, int]] = {}
        self._reached = asyncio.Event()

    def present(self) -> dict[str, int]:
        every = (*self._last, *self._seen.values())
        return {name: sum(figures[name] for figures in every) for name in self._wanted}

    async def until_reached(self, shards: Sequence[Shard]) -> None:
        nothing = dict.fromkeys(self._wanted, -1)
        seen = await together(shard.call("changed", since=nothing) for shard in shards)
        self._seen = {shard.number: each for shard, each in zip(shards, seen, strict=True)}
        self._look()
        if not shards and not self._reached.is_set():
            raise TimeoutError  # what has ended changes no more
        with one_error():
            async with asyncio.TaskGroup() as group:
                followers = [group.create_task(self._follow(shard)) for shard in shards]
                await self._reached.wait()
                for follower in followers:
                    follower.cancel()

    async def _follow(self, shard: Shard) -> None:
        while not self._reached.is_set():
            self._seen[shard.number] = await shard.call("changed", since=self._seen[shard.number])
            self._look()

    def _look(self) -> None:
        if has_come_to(self.present(), self._wanted):
            self._reached.set()


async def _figures(shard: Shard) -> dict[str, Any] | None:
    return await shard.call("figures") if shard.state is ShardState.SERVING else shard.last_figures


def summed(each: Sequence[Mapping[str, Any]], lost: tuple[int, ...]) -> ShardedSnapshot:
    """Return the sums of snapshots as mappings."""
    histogram: Counter[int] = Counter()
    for figures in each:
        histogram.update(_histogram(figures))
    sums = {
        field.name: sum(figures[field.name.removesuffix("_at_most")] for figures in each)
        for field in fields(ShardedSnapshot)
        if field.name not in ("requests_per_connection", "lost")
    }
    return ShardedSnapshot(**sums, requests_per_connection=dict(sorted(histogram.items())), lost=lost)


def _histogram(figures: Mapping[str, Any]) -> dict[int, int]:
    # JSON has made text of the keys.
    return {int(requests): count for requests, count in figures["requests_per_connection"].items()}
