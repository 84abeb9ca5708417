"""What swarmpool raises, split by what the caller can do about it.

    SwarmPoolError
     ├── MisuseError                  fix the program
     │    ├── PoolClosed              the tree is closing or closed; nothing reopens it
     │    ├── EmptyPool               the view has no agents
     │    ├── BadIndex                (IndexError) no such agent in this view
     │    └── WrongEventLoop          (RuntimeError) the tree belongs to another event loop
     ├── AdmissionError               send less, or later
     │    ├── QueueTimeout            (TimeoutError) no slot within `queue_timeout` seconds
     │    └── TooManyWaiting          `max_waiting` callers wait already
     ├── RequestFailed                the wire failed, and the caller asked for an exception (`Response.unwrap`)
     └── HostfileError                (ValueError) a hostfile cannot be read; says file and line

Bad arguments are `ValueError` and `TypeError`, as everywhere in Python. What happens on the wire is not raised: it is
a `Response` whose `kind` says what failed. `queue_timeout` and the like name the constructor's arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmpool.responses import Response

__all__ = [
    "AdmissionError",
    "BadIndex",
    "EmptyPool",
    "HostfileError",
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


class WrongEventLoop(MisuseError, RuntimeError):
    """The tree's sockets belong to the event loop it was opened in; this is another one."""


class AdmissionError(SwarmPoolError):
    """The request was not sent: there was no room for it."""


class QueueTimeout(AdmissionError, TimeoutError):
    """No slot came free within `queue_timeout` seconds."""


class TooManyWaiting(AdmissionError):
    """`max_waiting` callers wait for a slot already."""


class HostfileError(SwarmPoolError, ValueError):
    """A hostfile could not be read or written; the message says which file and line."""


class RequestFailed(SwarmPoolError):
    """A request failed on the wire, and its result was asked for with `Response.unwrap`.

    `response` is the whole failed `Response`.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response)  # as the only argument, so that it can be pickled
        self.response = response

    def __str__(self) -> str:
        return f"{self.response.kind}: {self.response.error}"
