"""When everything is over: both ledgers agree, and nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

from hunt.oracles.oracle import Oracle

__all__ = ["LedgersAgree", "NothingIsLeft"]

_DEAF = {"blackhole"}


class LedgersAgree(Oracle):
    """At rest the kernel, the fleet and the pool count the same connections open, and where nothing has gone wrong the
    same opened and closed. A connection whose request did not end well carries no other."""

    def at_rest(self) -> None:
        self._agree("at rest")
        self._see_reuse()

    def long_closed(self) -> None:
        self._agree("closed")
        self.must(
            self._theirs() == 0 or self.world.severed,
            f"the pool is closed, and servers have {self._theirs()} connections open",
        )

    def _theirs(self) -> int:
        """Connections open at the servers, but for those that read nothing and so cannot learn of their end."""
        ledger = self.world.fleet.ledger
        if not ledger.open_now:
            return 0
        there = [each for each in ledger.connection_records() if each.ended_at is None]
        return sum(_DEAF.isdisjoint(each.faults) for each in there)

    def _agree(self, when: str) -> None:
        world = self.world
        theirs, kernels = world.fleet.ledger, world.net.statistics
        self.must(
            self._theirs() == kernels.open_connections or world.severed,
            f"{when} servers have {self._theirs()} connections open, and the client {kernels.open_connections}",
        )
        if not hasattr(world.pool, "statistics"):
            return
        ours = world.pool.statistics().connections
        self.must(ours.open == kernels.open_connections, f"{when} the pool has {ours.open} open by its own count")
        self.must(ours.opened <= kernels.connections, f"{when} it counts {ours.opened} of {kernels.connections} opened")
        if not world.disturbed:
            same = ours.opened == theirs.opened == kernels.connections and ours.closed == theirs.closed
            self._see_who_closed()
            self.must(same, f"{when} opened and closed are {ours.opened}, {ours.closed}; theirs {theirs!r}")

    def _see_who_closed(self) -> None:
        """A websocket's connection is the server's to end, once both have said goodbye."""
        ledger = self.world.fleet.ledger
        websockets = {each.connection for each in ledger.websocket_records()}
        for each in ledger.connection_records():
            by_client = each.ended_by != "server" or each.connection in websockets
            self.must(by_client, f"a server has closed a connection before the pool did: {each}")

    def _see_reuse(self) -> None:
        ended_badly: set[int] = set()
        for record in self.world.fleet.ledger.request_records():
            self.must(
                record.connection not in ended_badly,
                f"request {record.number} came on connection {record.connection}, whose last one did not end well",
            )
            if record.outcome not in ("complete", None):
                ended_badly.add(record.connection)


class NothingIsLeft(Oracle):
    """No task, timer, socket or unhandled error is left behind: of the pool when it is closed, of the fleet at last."""

    def closed(self) -> None:
        left = asyncio.all_tasks() - self.world.tasks_before - {asyncio.current_task()}
        ours = [task for task in left if not _is_of_fleet(task)]
        self.must(not ours, f"the pool is closed, and tasks are left: {[each.get_coro() for each in ours]}")

    def over(self) -> None:
        world = self.world
        loop: Any = world.loop
        timers = [each for each in loop._scheduled if not each.cancelled()]
        self.must(not timers, f"all is over, and timers are armed: {timers}")
        self.must(
            len(world.net.descriptors) == 0, f"all is over, and {len(world.net.descriptors)} descriptors are open"
        )


def _is_of_fleet(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "fleetsim" in code.co_filename
