"""What swarmpool raises, split by what the caller can do about it.

    SwarmPoolError
     ├── MisuseError                  fix the program
     │    ├── PoolClosed              the tree is closing or closed; nothing reopens it
     │    ├── EmptyPool               the view has no agents
     │    ├── BadIndex                (IndexError) no such agent in this view
     │    ├── LeaseEnded              (RuntimeError) the lease was given back already
     │    └── WrongEventLoop          (RuntimeError) the tree belongs to another event loop
     ├── AdmissionError               send less, or later
     │    ├── QueueTimeout            (TimeoutError) no slot within `queue_timeout` seconds
     │    ├── AcquireTimeout          (TimeoutError) no connection within `timeout` seconds
     │    ├── TooManyWaiting          `max_waiting` callers wait already
     │    └── AgentUnavailable        the breaker of the agent, or of every agent, is open
     ├── ConnectFailed                a `ConnectionPool` could not connect; the cause says why
     │    └── ConnectTimeout          (TimeoutError) not within `connect_timeout` seconds
     ├── RequestFailed                the wire failed, and the caller asked for an exception (`Response.unwrap`)
     └── HostfileError                (ValueError) a hostfile cannot be read; says file and line

Bad arguments are `ValueError` and `TypeError`, as everywhere in Python. What happens on the wire is not raised: it is
a `Response` whose `kind` says what failed. `queue_timeout` and the like name the constructor's arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmpool.responses import EmbeddingResponse, Response

__all__ = [
    "AcquireTimeout",
    "AdmissionError",
    "AgentUnavailable",
    "BadIndex",
    "ConnectFailed",
    "ConnectTimeout",
    "EmptyPool",
    "HostfileError",
    "LeaseEnded",
    "MisuseError",
    "PoolClosed",
    "QueueTimeout",
    "RequestFailed",
    "SwarmPoolError",
    "TooManyWaiting",
    "WrongEventLoop",
]


class SwarmPoolError(Exception):
    """Root of everything this package raises on purpose."""


class MisuseError(SwarmPoolError):
    """The program asks for something that cannot be: fix the program."""


class PoolClosed(MisuseError):
    """The tree is closing or closed. Nothing reopens it: make a new pool."""


class EmptyPool(MisuseError):
    """A request was sent on a view that has no agents."""


class BadIndex(MisuseError, IndexError):
    """No agent has that index in this view."""


class LeaseEnded(MisuseError, RuntimeError):
    """The lease has been released or discarded before; its connection may be somebody else's by now."""


class WrongEventLoop(MisuseError, RuntimeError):
    """The tree's sockets belong to the event loop it was opened in; this is another one."""


class AdmissionError(SwarmPoolError):
    """The request was not sent: there was no room for it."""


class QueueTimeout(AdmissionError, TimeoutError):
    """No slot came free within `queue_timeout` seconds."""


class AcquireTimeout(AdmissionError, TimeoutError):
    """A `ConnectionPool` had no connection within `timeout` seconds; its last failure to connect is the cause."""


class TooManyWaiting(AdmissionError):
    """`max_waiting` callers wait for a slot already."""


class AgentUnavailable(AdmissionError):
    """The breaker of the agent is open, or those of all agents that could be chosen: the message has the reasons."""


class ConnectFailed(SwarmPoolError):
    """A `ConnectionPool` could not connect; the cause says why.

    Raised where there is no one exception of `connect_cb` to raise: to those who waited for another's dial, from
    `prewarm`, and by `ConnectTimeout`.
    """


class ConnectTimeout(ConnectFailed, TimeoutError):
    """A dial took longer than `connect_timeout` seconds and was cancelled."""


class HostfileError(SwarmPoolError, ValueError):
    """A hostfile could not be read or written; the message says which file and line."""


class RequestFailed(SwarmPoolError):
    """A request failed on the wire, and its result was asked for with `Response.unwrap`.

    `response` is the whole failed `Response` or `EmbeddingResponse`.
    """

    def __init__(self, response: Response | EmbeddingResponse) -> None:
        super().__init__(response)  # as the only argument, so that it can be pickled
        self.response = response

    def __str__(self) -> str:
        return f"{self.response.kind}: {self.response.error}"
