"""Who is told of a tree's calls, exchanges and connections as they happen, if anybody is.

Without an `Observer` nothing of this is on a request's way: the tree makes plain `Exchange`s, and calls ask one
attribute. With one, the tree makes the exchanges that it gives, and every call goes the way of those that may take
several tries. `telemetry/` has the one observer there is.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from swarmpool.delivery import of_all

if TYPE_CHECKING:
    from swarmpool.exchange import Exchange
    from swarmpool.responses import Response

__all__ = ["ObservedCall", "Observer", "observed"]


class ObservedCall(Protocol):
    """One call of a pool's user, with all its tries. Only the first of `ended` and `raised` counts."""

    def current(self) -> AbstractContextManager[object]:
        """The scope whose exchanges are tries of this call."""

    def ended(self, response: Response) -> None:
        """It has its result."""

    def raised(self, error: BaseException) -> None:
        """It ended without a result: refused, or cancelled."""


class Observer(Protocol):
    """What a tree tells. Nothing of it may raise, nor wait."""

    def call(self, operation: str, model: str | None) -> ObservedCall:
        """A call begins."""

    def exchange(self, *args: Any, **options: Any) -> Exchange:
        """An `Exchange` made of what `Exchange` takes, that tells of itself."""

    def connection_lost(self, seconds: float) -> None:
        """A socket is closed that was connected for so long."""


async def observed(call: ObservedCall, results: Awaitable[list[Response]]) -> list[Response]:
    """What `results` gives or raises, of which `call` hears. Cancelling it cancels that."""
    try:
        with call.current():
            found = await results
    except BaseException as error:
        call.raised(error)
        raise
    call.ended(of_all(found))
    return found
