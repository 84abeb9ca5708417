"""One request on the wire: a slot, a connection, a time limit, and an end that gives all three back.

Theory of operation
-------------------
An `Exchange` exists from the moment its slot is granted until `end`, and the tree knows it for exactly that long. All
waiting on the wire happens inside a `Deadline`: when the tree closes, `cut_off` makes it due at once, so the owner's
wait ends with a TimeoutError here and never with a CancelledError nobody sent. An exchange that nobody waits in (a
stream between two reads) is ended on the spot.

`end` is synchronous and may be called any number of times. It closes the response first and gives the slot back second:
whoever gets the slot may need the socket. A response that was read to its EOF has given its connection back by itself;
any other loses it, and the connector aborts that socket.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal, Protocol

from aiohttp.payload import BytesIOPayload, BytesPayload, Payload

from swarmpool.connector import bury, current_user
from swarmpool.deadline import Deadline, Deadlines
from swarmpool.failures import WIRE_ERRORS, failure_of, retry_after
from swarmpool.responses import FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import ClientResponse, ClientSession

    from swarmpool.agents import Agent

__all__ = ["Exchange", "Outcome", "WireFailure"]

_LARGE = 2**20  # bytes; aiohttp warns of larger ones that are written in one go


class WireFailure(Exception):
    """An exchange failed. For use between this file and its callers only."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(slots=True)
class Outcome:
    """How an exchange went: a status and a whole body, or a failure."""

    status: int | None = None
    body: bytes = b""
    failure: WireFailure | None = None
    retry_after: float | None = None


class Owner(Protocol):
    """What an exchange needs of its tree."""

    def ended(self, exchange: Exchange) -> None:
        """Forget the exchange and give its slot back."""


class Exchange:
    """One request to `agent`, whose slot has been granted after `queue_seconds`.

    `watched` watches the limits of exchanges that all have the same `timeout`.
    """

    __slots__ = (
        "_cut",
        "_limit",
        "_loop",
        "_on_cut",
        "_owner",
        "_session",
        "_watched",
        "agent",
        "connections",
        "deadline",
        "queue_seconds",
        "response",
        "reused",
        "started",
        "wire_seconds",
    )

    def __init__(
        self,
        owner: Owner,
        session: ClientSession,
        agent: Agent,
        *,
        queue_seconds: float,
        timeout: float | None,
        loop: asyncio.AbstractEventLoop,
        watched: Deadlines | None = None,
    ) -> None:
        self._watched = watched
        self._owner: Owner | None = owner
        self._session = session
        self._loop = loop
        self._limit: Deadline | None = None
        self._on_cut: Callable[[], None] | None = None
        self._cut = False
        self.agent = agent
        self.queue_seconds = queue_seconds
        self.started = loop.time()
        self.deadline = None if timeout is None else self.started + timeout
        self.connections = 0
        self.reused = False
        self.response: ClientResponse | None = None
        self.wire_seconds = 0.0

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._owner is None

    @property
    def attempts(self) -> int:
        """Times the request was sent, or tried to be."""
        return self.connections or 1

    @property
    def connection(self) -> Literal["new", "reused"] | None:
        """Whether it travels on a connection that had served before; None if it has none yet."""
        if not self.connections:
            return None
        return "reused" if self.reused else "new"

    def took(self, reused: bool) -> None:
        """The connector has given it a connection."""
        self.connections += 1
        self.reused = reused

    def elapsed(self) -> float:
        """Seconds since the slot was granted."""
        return self._loop.time() - self.started

    async def fetch(self, method: str, path: str, body: bytes | None) -> Outcome:
        """Send and read the whole answer. Cancelling it ends the connection; `end` must follow in any case."""
        outcome = Outcome()
        try:
            with self.limit(self.deadline, self._watched):
                # As `send` does it: one coroutine fewer on the way of every request.
                token = current_user.set(self)
                try:
                    self.response = response = await self._ask(method, path, body)
                finally:
                    current_user.reset(token)
                outcome.status = response.status
                if response.status >= 400:
                    outcome.retry_after = retry_after(response.headers.get("Retry-After"))
                outcome.body = await response.read()
        except WIRE_ERRORS as error:
            outcome.failure = self.explain(error)
        return outcome

    async def send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """Send, and return once the head of the answer is here. Call it inside `limit`."""
        token = current_user.set(self)
        try:
            self.response = response = await self._ask(method, path, body, headers)
        finally:
            current_user.reset(token)
        return response

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Awaitable[ClientResponse]:
        return self._session.request(
            method,
            self.agent.url(path),
            data=None if body is None else _payload(body),
            headers=headers,
            allow_redirects=False,
        )

    def limit(self, deadline: float | None, among: Deadlines | None = None) -> Deadline:
        """The scope in which the owner may wait for the wire, until the loop's time is `deadline`."""
        if self._cut:
            self._limit = Deadline(self._loop, self._loop.time())
        else:
            self._limit = Deadline(self._loop, deadline, among)
        return self._limit

    def explain(self, error: BaseException, *, idle: bool = False) -> WireFailure:
        """What the error that came out of `limit` means; `idle` if the scope's limit was the idle gap."""
        if self._cut:
            return WireFailure(FailureKind.CLOSED, "the pool was closed while this request was under way")
        if isinstance(error, TimeoutError) and self._limit is not None and self._limit.due:
            if idle:
                return WireFailure(FailureKind.IDLE_TIMEOUT, f"nothing came from {self.agent} for idle_timeout seconds")
            return WireFailure(FailureKind.TIMEOUT, f"no whole answer from {self.agent} after {self.elapsed():.3f} s")
        kind, message = failure_of(error)
        return WireFailure(kind, f"{self.agent}: {message}")

    def when_cut(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the tree closes while nobody waits in this exchange."""
        self._on_cut = callback

    def cut_off(self) -> None:
        """The tree closes: end the owner's wait, or the exchange itself if nobody waits in it."""
        self._cut = True
        if self._limit is not None and self._limit.expire():
            return
        if self._on_cut is not None:
            self._on_cut()
        self.end()

    def end(self) -> None:
        """Give back connection and slot. Idempotent."""
        owner, response = self._owner, self.response
        if owner is None:
            return
        # Transports and timers keep the context they were made in, with the exchange that was current: it must not keep
        # the tree, or a dropped pool would live as long as its sockets.
        self._owner = self._on_cut = self.response = None
        self.wire_seconds = self.elapsed()
        if response is not None and response.connection is not None:
            response.close()
        owner.ended(self)

    def bury(self) -> None:
        """Let go of the connection after the loop has closed, when nothing can be ended in order any more."""
        self._owner = None
        if self.response is not None and self.response.connection is not None:
            bury(self.response.connection)
            self.response.close()


def _payload(body: bytes) -> Payload:
    """A JSON body; a large one goes out in pieces, so that it does not hold up the loop."""
    if len(body) < _LARGE:
        return BytesPayload(body, content_type="application/json")
    return BytesIOPayload(BytesIO(body), content_type="application/json")
