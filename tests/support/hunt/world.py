"""What everybody in a hunt shares: the net, the fleet, the pool, the calls, and who is told what happens."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pool_ledger import PoolLedger

from hunt.steps import Moment, Setup

if TYPE_CHECKING:
    from fleetsim import Fleet
    from hunt.kinds import Kind
    from hunt.oracles.oracle import Oracle
    from simkernel import Net, SimLoop

__all__ = ["Call", "Prompt", "Request", "World"]

_WEBSOCKETS: dict[str, Any] = {"connect_timeout": 20.0, "reconnect_delay": None, "seed": 1}


@dataclass(slots=True)
class Prompt:
    """One prompt of a call: what is asked, of which agent of the tree, and what the answer must be."""

    nonce: str
    text: str
    agent: int
    expected: str
    arrived: int = 0
    """Requests with it that a server has had."""
    refused: int = 0
    """Those of them that it would not work on."""


@dataclass(slots=True, eq=False)
class Call:
    """One caller: what it asked, and what it was told."""

    number: int
    sort: str
    agents: frozenset[int]
    prompts: list[Prompt]
    began: float
    is_one_request: bool = True
    is_anybodys: bool = False
    """Whether the pool may choose the agent."""
    task: asyncio.Task[None] | None = None
    was_cancelled: bool = False
    """Whether the plan has cancelled it before its end."""
    cancelled_at: float | None = None
    left: bool = False
    """Whether the plan has it leave a stream before its end."""
    limit: float | None = None
    """A stream's own limit of time."""
    pause: float = 0.0
    """Seconds that it does something else behind each chunk of a stream."""
    watches_gaps: bool = False
    """Whether it has a limit of time between two pieces."""
    results: list[Any] = field(default_factory=list)
    """Each a `Response`, one for each prompt; messages that came back, of a websocket."""
    raised: BaseException | None = None
    stream: Any = None
    ended_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the pool has let it go: it is answered, or refused, or gone."""
        return self.ended_at is not None or (self.stream is not None and self.stream.response is not None)

    def __str__(self) -> str:
        return f"call {self.number} ({self.sort})"


@dataclass(slots=True, eq=False)
class Request:
    """One request that a server is busy with."""

    call: Call
    agent: int


class World:
    """One run of a plan. `moments` and `calls` grow as it goes; `complaints` are what the oracles have found."""

    def __init__(self, net: Net, kind: Kind, fleet: Fleet, setup: Setup) -> None:
        self.net, self.kind, self.fleet, self.setup = net, kind, fleet, setup
        self.loop: SimLoop = asyncio.get_running_loop()  # type: ignore[assignment]  # hunts run in simkernel only
        self.pool: Any = None
        self.views: dict[int, Any] = {}
        self.calls: dict[int, Call] = {}
        self.by_nonce: dict[str, tuple[Call, Prompt]] = {}
        self.by_task: dict[asyncio.Task[Any], Call] = {}
        self.oracles: list[Oracle] = []
        self.complaints: list[str] = []
        self.disturbed: set[int] = set()
        """Agents that a fault has been meant for."""
        self.dead: set[int] = set()
        """Those that will never come back."""
        self.severed = False
        """Whether there are connections one end of which will never learn of the other's."""
        self.closings: list[asyncio.Task[None]] = []
        self.closed_by = math.inf
        """When the soonest drain is over."""
        self.closed_at: float | None = None
        self.at_work: set[Request] = set()
        """Requests that a server is busy with."""
        self.ledgers: dict[int, PoolLedger] = {}
        self.tasks_before: set[asyncio.Task[Any]] = set()
        self._waiting: defaultdict[tuple[Moment, int], list[Callable[[], None]]] = defaultdict(list)

    def now(self) -> float:
        """Virtual seconds."""
        return self.loop.time()

    def complain(self, sentence: str) -> None:
        """Keep what an oracle has found."""
        self.complaints.append(f"at {self.now() - self.net.started:.4f} s: {sentence}")

    def when(self, moment: Moment, call: int, do: Callable[[], None]) -> None:
        """Have `do` called at that moment of that call, if it comes."""
        self._waiting[moment, call].append(do)

    def happens(self, moment: Moment, call: Call) -> None:
        """Tell whoever waits for it, and the oracles."""
        for do in self._waiting.pop((moment, call.number), ()):
            do()
        for oracle in self.oracles:
            oracle.happens(moment, call)

    def is_closing(self) -> None:
        """Tell the oracles."""
        for oracle in self.oracles:
            oracle.closing()

    def is_closed(self, _: object) -> None:
        """A `close` of the plan's has returned."""
        if self.closed_at is None:
            self.closed_at = self.now()

    def current_call(self) -> Call | None:
        """The call that is running now."""
        task = asyncio.current_task()
        return None if task is None else self.by_task.get(task)

    def target(self, agent: int | None) -> tuple[str, int] | None:
        """Address and port of an agent, for the net's faults."""
        if agent is None:
            return None
        endpoint = self.fleet.endpoints[agent % len(self.fleet)]
        return endpoint.host, endpoint.port

    def websockets(self, view: Any, index: int, agent: int) -> Any:
        """The websockets of agent number `index` of a view, who is `agent` of the tree, under a ledger's eyes."""
        ledger = self.ledgers.setdefault(agent, PoolLedger())
        sockets = view.websockets(index, "/echo", **_WEBSOCKETS, on_event=ledger)
        ledger.watch(sockets)
        return sockets

    def disturb(self, agent: int | None) -> None:
        """From now on failures of this agent, or of all, have a reason."""
        self.disturbed.update(range(len(self.fleet)) if agent is None else {agent % len(self.fleet)})
