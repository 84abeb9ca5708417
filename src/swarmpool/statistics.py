"""What a tree has done and does, as one frozen record. The words are those of the fleet's ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

from swarmpool.endpoints import AgentEndpoint
from swarmpool.health import BreakerState
from swarmpool.lifecycle import State
from swarmpool.limiter import LimiterStatistics
from swarmpool.responses import FailureKind
from swarmpool.sockets import SocketStatistics

__all__ = ["AgentStatistics", "CareStatistics", "PoolStatistics", "RequestCounts", "RequestStatistics", "Tally"]


class Tally(dict[FailureKind, int]):
    """Counts by kind of failure, which cannot be changed. A dict, so that `asdict`, JSON and pickle know what to do."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("statistics are a record of one moment and cannot be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[Tally], tuple[dict[FailureKind, int]]]:
        return type(self), (dict(self),)


@dataclass(frozen=True, slots=True)
class RequestStatistics:
    """Requests of the pool's callers, by how they ended; `failures` counts the failed ones by `FailureKind`.

    The pool's own questions (`GET /v1/models`) take slots and are not counted here, nor is what never got a slot.

    `abandoned_streams` were left by their reader before the end; they are among the failed. `cancelled` requests have
    no result: their caller was cancelled.
    """

    succeeded: int
    failed: int
    cancelled: int
    abandoned_streams: int
    failures: Tally


class RequestCounts:
    """The counters behind `RequestStatistics`."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.cancelled = 0
        self.failures: Counter[FailureKind] = Counter()

    def count(self, kind: FailureKind | None) -> None:
        """Count one request: how it failed, or None for a success."""
        if kind is None:
            self.succeeded += 1
        else:
            self.failures[kind] += 1

    def statistics(self) -> RequestStatistics:
        """A consistent record of the counts."""
        return RequestStatistics(
            succeeded=self.succeeded,
            failed=self.failures.total(),
            cancelled=self.cancelled,
            abandoned_streams=self.failures[FailureKind.ABANDONED],
            failures=Tally(self.failures),
        )


@dataclass(frozen=True, slots=True)
class CareStatistics:
    """What was done about agents that failed or were slow. `ejected_now` is a gauge; all else only grows.

    The names are those of the kinds of `PoolEvent`. A request that was retried or hedged is one request elsewhere.
    """

    ejected_now: int
    ejected: int
    probing: int
    returned: int
    retried: int
    hedged: int
    hedge_won: int


@dataclass(frozen=True, slots=True)
class AgentStatistics:
    """One agent of a view: `load` requests in flight and waiting now, `sent` that ever got a slot, and its breaker.

    `cap` is how many it may have in flight now; None = no cap.
    """

    agent_index: int
    tree_index: int
    endpoint: AgentEndpoint
    load: int
    sent: int
    breaker: BreakerState
    cap: int | None


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One moment of a whole tree; the same whichever view is asked, but for `size`, the agents of that view.

    `limit` is how many requests may be in flight: the smaller of `concurrency` and `connector_limit`. When a pool is
    quiet, `connections` equals what the servers count; in motion a server may see an accept before the FIN it follows.
    """

    state: State
    size: int
    agents: int
    limit: int
    concurrency: int
    connector_limit: int
    concurrency_per_agent: int | None
    admission: LimiterStatistics
    connections: SocketStatistics
    requests: RequestStatistics
    care: CareStatistics
