"""What a plan is made of: frozen steps, each at an instant in virtual seconds from the plan's beginning.

A step refers to calls, views and agents by number. One whose call or view is not there (a shrunk plan has lost it) does
nothing, or takes the whole pool; an agent's number is taken modulo the size of the view.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

__all__ = [
    "Ask",
    "AskMany",
    "Await",
    "Batch",
    "CallStep",
    "Cancel",
    "CancelAfter",
    "Close",
    "CloseAfter",
    "Drop",
    "Embed",
    "Fault",
    "Moment",
    "Network",
    "Prewarm",
    "Setup",
    "Step",
    "Stream",
    "Talk",
    "View",
    "Warm",
]

Moment = Literal["called", "granted", "arrived", "answered", "ended"]
"""What happens to a call: it begins; a slot is handed to it; the server has its request; the server has its answer; its
caller has a result."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Step:
    """Something that happens `at` so many seconds."""

    at: float = 0.0

    def __repr__(self) -> str:
        """As the Python that makes it, without what is as by default."""
        told = [
            f"{each.name}={value!r}" for each in fields(self) if (value := getattr(self, each.name)) != each.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Setup(Step):
    """What there is: `agents` in the fleet, and the limits of the pool. Without such a step: these."""

    agents: int = 2
    concurrency: int = 2
    connector_limit: int = 2
    per_agent: int | None = None
    queue_timeout: float | None = None
    max_waiting: int | None = None
    timeout: float = 20.0
    connect_timeout: float = 5.0
    keepalive_timeout: float = 4.0
    named: bool = False
    """Whether the pool knows its agents by a name that has to be looked up."""
    dns_ttl: float | None = None
    tries: int = 1
    """Of a request. This and what follows is what the pool does about agents that fail."""
    unsafe: bool = False
    failures: int | None = None
    asks_health: bool = False
    """Whether ejected agents are probed by `/health`."""
    hedge_after: float | None = None
    routing: Literal["turn", "least", "two", "sticky"] | None = None

    @property
    def cares(self) -> bool:
        """Whether a request may be sent more than once, or elsewhere."""
        return self.tries > 1 or self.failures is not None or self.hedge_after is not None or self.routing is not None

    @property
    def limit(self) -> int:
        """Requests in flight at most."""
        return min(self.concurrency, self.connector_limit)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class View(Step):
    """Make sub-pool number `view` of view number `of`; 0 is the pool."""

    view: int
    of: int = 0
    how: Literal["by_tag", "sample", "select", "slice"] = "slice"
    first: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Drop(Step):
    """Forget sub-pool number `view`."""

    view: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CallStep(Step):
    """A caller of the pool, who is a task of his own. `tokens` is how long an answer may be."""

    call: int
    view: int = 0
    agent: int = 0
    tokens: int = 4


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ask(CallStep):
    """One prompt, one answer; `padding` characters more make a request that does not fit into the kernel's buffers.
    `anybody`: the pool chooses the agent."""

    padding: int = 0
    anybody: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Stream(CallStep):
    """A stream, read with `pause` seconds behind each chunk, and left after `leave_after` chunks if that is given.
    `limit` and `idle_timeout` are its own limits of time. `anybody`: the pool chooses the agent."""

    leave_after: int | None = None
    how: Literal["break", "drop"] = "break"
    pause: float = 0.0
    limit: float | None = None
    idle_timeout: float | None = None
    anybody: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Batch(CallStep):
    """`prompts` prompts to one agent by `post_batch`."""

    prompts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AskMany(CallStep):
    """`prompts` prompts to all agents of the view; `stream_all` is left after `leave_after` results, if given."""

    prompts: int = 4
    how: Literal["send_all", "send_all_batched", "stream_all"] = "send_all"
    leave_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Talk(CallStep):
    """A websocket is borrowed, `messages` are said on it with `pause` seconds behind each, and it is given back."""

    messages: int = 1
    pause: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Embed(CallStep):
    """`texts` texts are turned into vectors by all agents of the view, two to a request."""

    texts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Warm(CallStep):
    """`per_agent` connections to each agent of the view."""

    per_agent: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Await(CallStep):
    """Who waits up to `seconds` for all agents of the view to be ready."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prewarm(Step):
    """Have `count` idle websockets to an agent."""

    agent: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cancel(Step):
    """Cancel call number `call`."""

    call: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CancelAfter(Step):
    """Cancel call number `call` so many turns of the loop after a moment of call number `of`; 0 is in its middle."""

    call: int
    of: int
    moment: Moment = "ended"
    turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Network(Step):
    """The network goes wrong, for one agent or for all (None). `lasting` and `amount` where the fault takes them."""

    what: Literal[
        "partition", "refuse", "fill_backlog", "slow", "bandwidth", "lose_syn", "reset", "blackhole", "kill", "dns_fail"
    ]
    agent: int | None = 0
    lasting: float = 1.0
    amount: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fault(Step):
    """A fault of the fleet's catalogue, at one agent or at all (None); `times` how often it strikes, None for ever, and
    for those that hold for a server as a whole."""

    fault: str
    agent: int | None = 0
    times: int | None = 1
    lasting: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Close(Step):
    """Close the pool while the rest goes on; whoever does is cancelled `give_up` turns later, if that is given."""

    drain: float = 0.0
    give_up: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CloseAfter(Close):
    """Close the pool so many turns of the loop after a moment of call number `of`; 0 is in its middle."""

    of: int
    moment: Moment = "ended"
    turns: int = 0
