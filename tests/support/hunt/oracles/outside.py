"""What can be seen from outside of any pool: sockets by the kernel, requests by the fleet."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hunt.oracles.oracle import Oracle, listen
from hunt.steps import Moment
from hunt.world import Call, Request, World

__all__ = ["SlotsAreBounded", "SocketsAreBounded"]

_PATIENCE = 5.0  # seconds: a shorter `timeout` may end a request of many that the outside sees as one call


class SocketsAreBounded(Oracle):
    """Never more than `connector_limit` sockets of the client's, attempts to connect included, by the kernel's count;
    and none of them is made once the pool is closed."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._clients: list[Any] = []
        self._closed = False
        listen(world.net, "connect", self._connects, before=True)

    @property
    def open(self) -> int:
        """Those open now."""
        self._clients = [end for end in self._clients if not end.closed]
        return len(self._clients)

    def _connects(self, end: Any, address: Any) -> None:
        self._clients.append(end)
        limit = self.world.setup.connector_limit
        self.must(self.open <= limit, f"{self.open} sockets are open, and connector_limit is {limit}")
        self.must(not self._closed, "a closed pool connects")

    def closed(self) -> None:
        self._closed = True
        self.must(self.open == 0, f"{self.open} sockets are open when the pool is closed")


class SlotsAreBounded(Oracle):
    """Servers are busy with at most `limit` requests of callers that still wait for them, and each with at most
    `per_agent`. Whose caller has gone does not count: his server has not heard of it yet."""

    def happens(self, moment: Moment, call: Call) -> None:
        if moment != "arrived":
            return
        setup = self.world.setup
        busy = Counter(request.agent for request in self.world.at_work if self._counts(request))
        total = busy.total()
        self.must(total <= setup.limit, f"{total} requests are under way, and the limit is {setup.limit}")
        if setup.per_agent is not None and busy:
            agent, most = busy.most_common(1)[0]
            self.must(
                most <= setup.per_agent,
                f"{most} requests to agent {agent} are under way, and its limit is {setup.per_agent}",
            )

    def _counts(self, request: Request) -> bool:
        """Of a call with several requests the outside cannot tell which have been given up."""
        world = self.world
        if not request.call.is_one_request or world.setup.cares:
            return not (request.call.is_over or world.disturbed or world.setup.timeout < _PATIENCE)
        return not request.call.is_over
