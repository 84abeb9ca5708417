"""What a plan is made of: frozen steps, each at its time in seconds, that print as they are written.

Any part of a plan is a plan, so one that fails can be shrunk. `name` is how another step refers to a task.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from swarmpool.connection_pool import EventKind

__all__ = [
    "Cancel",
    "CancelAfter",
    "Close",
    "End",
    "How",
    "Invalidate",
    "Kind",
    "Lending",
    "NetFault",
    "Plan",
    "Prewarm",
    "Request",
    "ServerFault",
    "Shrink",
    "Step",
    "Use",
]

Kind = Literal["agents", "own", "bare"]
How = Literal["acquire", "with", "get"]
End = Literal["well", "badly", "twice", "unread"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Step:
    """One thing that happens, `at` so many seconds from the start."""

    at: float = 0.0

    def __repr__(self) -> str:
        told = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value, usual in told if value != usual)})"
        )


Plan = tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Lending(Step):
    """Which pool it is about; the first one counts. `options` are those of `ConnectionPool`.

    `agents` are the websockets of two agents of an `AgentPool` of so many `sockets` and `slots`, `own` a WebSocketPool
    with a session of its own, `bare` a ConnectionPool of aiohttp's websockets, to which nobody listens while idle.
    `checks`: the pool asks for a moment whether a websocket that was idle is well before it hands it out.
    """

    kind: Kind = "own"
    path: Literal["/echo", "/v1/realtime"] = "/echo"
    options: tuple[tuple[str, Any], ...] = ()
    sockets: int = 3
    slots: int = 2
    checks: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Use(Step):
    """Somebody takes a websocket, says something `times`, with a `pause` after each, and gives it back.

    badly: as not to be used again; twice: well, and once more; unread: with an answer that nobody received.
    """

    name: int = 0
    which: int = 0
    how: How = "acquire"
    timeout: float | None = None
    times: int = 1
    pause: float = 0.0
    end: End = "well"


@dataclass(frozen=True, kw_only=True, repr=False)
class Request(Step):
    """A plain request to an agent, on the session that its websockets use."""

    name: int = 0
    which: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Prewarm(Step):
    which: int = 0
    number: int = 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Invalidate(Step):
    which: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Shrink(Step):
    which: int = 0
    most: int = 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Close(Step):
    """The pool is closed, with what belongs to it."""

    name: int = 0
    drain: float | None = 1.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Cancel(Step):
    """Whoever has that name is cancelled."""

    name: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class CancelAfter(Step):
    """Somebody is cancelled so many `turns` of the loop after the `number`-th event of this kind; None: inside of it.

    Whoever has that name; 0: whoever has waited longest without an answer, which at LEASED is whom it is handed to.
    """

    name: int = 0
    kind: EventKind = EventKind.LEASED
    number: int = 1
    turns: int | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class NetFault(Step):
    """A fault of the network, by the name of its method, on the way to one server."""

    what: str = "reset"
    which: int = 0
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerFault(Step):
    """A fault of the fleet's catalogue, as it is written there, `times` or `lasting` seconds."""

    what: str = "websocket_rst"
    which: int = 0
    times: int | None = 1
    lasting: float | None = None
